#include "src/ptx/decoder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace librt::ptx {
namespace {

std::uint64_t align_up(std::uint64_t value, std::uint64_t align) {
  return (value + align - 1) / align * align;
}

constexpr std::size_t kMostDigits = 8;  // of the number in a register's name
constexpr std::uint64_t kMostSharedBytes = 1u << 24, kMostLocalBytes = 1u << 19, kMostParameterBytes = 32764;
constexpr std::size_t kMostRegisters = std::size_t{1} << 22;

}  // namespace

Modifiers::Modifiers(std::string_view opcode) {
  std::size_t start = 0;
  while (start <= opcode.size()) {
    const std::size_t dot = std::min(opcode.find('.', start), opcode.size());
    parts_.push_back(opcode.substr(start, dot - start));
    start = dot + 1;
  }
  base_ = parts_.front();
  at_ = 1;
}

bool Modifiers::take(std::string_view name) {
  if (done() || parts_[at_] != name) return false;
  ++at_;
  return true;
}

std::string_view Modifiers::take_any(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (take(name)) return name;
  return {};
}

std::optional<Type> Modifiers::take_type() {
  if (done()) return std::nullopt;
  const auto type = type_from_name(parts_[at_]);
  if (type) ++at_;
  return type;
}

KernelDecoder::KernelDecoder(const std::map<std::string_view, Symbol>& globals,
                             const std::vector<VariableDeclaration>& module_shared, const EntrySyntax& entry,
                             InstructionSet set)
    : globals_(globals), entry_(entry), set_(set) {
  kernel_.name = entry.name;
  kernel_.register_bytes = 64;  // offset 0 means "none"
  sink_ = allocate(8);
  carry_ = allocate(4);
  scopes_.emplace_back();
  for (const VariableDeclaration& declaration : module_shared) declare_variable(declaration, scopes_[0]);
}

void KernelDecoder::fail(Fault fault, std::string_view message) const {
  const std::uint32_t line = statement_ != nullptr ? statement_->line : entry_.line;
  const bool in_instruction = statement_ != nullptr && statement_->kind == Statement::Kind::instruction;
  throw MachineError(fault,
                     fmt::format("kernel '{}', line {}: {}{}", kernel_.name, line,
                                 in_instruction ? fmt::format("'{}': ", statement_->instruction.text) : "", message));
}

void KernelDecoder::refuse() const {
  fail(Fault::unsupported, fmt::format("the instruction form '{}' is not supported", statement_->instruction.opcode));
}

void KernelDecoder::bad_operand(std::string_view what) const {
  fail(Fault::syntax, what);
}

void KernelDecoder::lay_out_parameters() {
  std::uint64_t offset = 0;
  for (const VariableDeclaration& parameter : entry_.parameters) {
    offset = align_up(offset, parameter.align);
    const std::uint64_t bytes = parameter.elements * bytes_of(parameter.type);
    if (offset + bytes > kMostParameterBytes) fail(Fault::unsupported, "more than 32764 bytes of parameters");
    kernel_.parameters.push_back(
        {std::string(parameter.name), static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(bytes)});
    const Symbol symbol{Space::param, kParamBase + offset, 0, false};
    if (!scopes_[0].symbols.try_emplace(parameter.name, symbol).second)
      fail(Fault::syntax, fmt::format("'{}' is declared twice", parameter.name));
    offset += bytes;
  }
  kernel_.parameter_bytes = static_cast<std::uint32_t>(offset);
}

void KernelDecoder::declare_variable(const VariableDeclaration& declaration, Scope& scope) {
  if (!declaration.initial.empty())
    fail(Fault::unsupported,
         fmt::format("an initialiser of the {} variable '{}'", to_string(declaration.space), declaration.name));
  Symbol symbol{declaration.space, 0, 0, false};
  const std::uint64_t bytes = declaration.elements * bytes_of(declaration.type);
  if (declaration.space == Space::shared && (declaration.external || declaration.unsized)) {
    if (!declaration.unsized)
      fail(Fault::unsupported, fmt::format("the external variable '{}' with a size", declaration.name));
    symbol.dynamic = true;
    dynamic_align_ = std::max(dynamic_align_, declaration.align);
  } else if (declaration.space == Space::shared || declaration.space == Space::local) {
    if (declaration.unsized) fail(Fault::syntax, fmt::format("'{}' has no size", declaration.name));
    const bool shared = declaration.space == Space::shared;
    std::uint64_t& used = shared ? shared_bytes_ : local_bytes_;
    used = align_up(used, declaration.align);
    symbol.offset = (shared ? kSharedBase : kLocalBase) + used;
    used += bytes;
    if (used > (shared ? kMostSharedBytes : kMostLocalBytes))
      fail(Fault::unsupported, fmt::format("'{}' is too large", declaration.name));
  } else {
    fail(Fault::unsupported,
         fmt::format("the {} variable '{}' in an entry", to_string(declaration.space), declaration.name));
  }
  if (!scope.symbols.try_emplace(declaration.name, symbol).second)
    fail(Fault::syntax, fmt::format("'{}' is declared twice", declaration.name));
}

void KernelDecoder::declare_registers(const Statement& statement) {
  for (const RegisterDeclaration& declaration : statement.registers) {
    check_new_registers(declaration);
    declared_registers_ += declaration.count.value_or(1);
    if (declared_registers_ > kMostRegisters)
      fail(Fault::unsupported, fmt::format("more than {} registers", kMostRegisters));
    Family family;
    family.type = declaration.type;
    family.numbered = declaration.count.has_value();
    family.offsets.assign(declaration.count.value_or(1), 0);
    if (!scopes_[scope_].families.try_emplace(declaration.name, std::move(family)).second)
      fail(Fault::syntax, fmt::format("register '{}' is declared twice", declaration.name));
  }
}

/// %r<8> and %r3 name the same register; the plain name may come first or last.
void KernelDecoder::check_new_registers(const RegisterDeclaration& declaration) {
  Scope& scope = scopes_[scope_];
  if (declaration.count) {
    const auto plain = scope.numbers.find(declaration.name);
    if (plain != scope.numbers.end() && plain->second < *declaration.count)
      fail(Fault::syntax, fmt::format("register '{}{}' is declared twice", plain->first, plain->second));
    return;
  }
  const std::string_view name = declaration.name;
  std::uint32_t number = 0, place = 1;
  for (std::size_t at = name.size(); at-- > 1 && name.size() - at <= kMostDigits;) {
    if (name[at] < '0' || name[at] > '9') break;
    number += place * static_cast<std::uint32_t>(name[at] - '0');
    place *= 10;
    if (name[at] == '0' && at + 1 != name.size()) continue;  // %r<8> has no %r03
    const std::string_view prefix = name.substr(0, at);
    const auto family = scope.families.find(prefix);
    if (family != scope.families.end() && family->second.numbered && number < family->second.offsets.size())
      fail(Fault::syntax, fmt::format("register '{}' is declared twice", name));
    const auto smallest = scope.numbers.try_emplace(prefix, number).first;
    smallest->second = std::min(smallest->second, number);
  }
}

void KernelDecoder::begin(const Statement& statement) {
  instruction_ = Instruction{};
  info_ = InstructionInfo{};
  info_.text = statement.instruction.text;
  info_.line = statement.line;
  info_.source_file = statement.source_file;
  info_.source_line = statement.source_line;
  info_.opcode = statement.instruction.opcode;
}

void KernelDecoder::emit(const Form& form) {
  if (instruction_.flow == Flow::next || instruction_.flow == Flow::warp_all || instruction_.flow == Flow::warp_mask) {
    instruction_.run = find_handler(form, set_);
    if (instruction_.run == nullptr) refuse();
  }
  instruction_.flags = static_cast<std::uint8_t>((form.ftz ? kFtz : 0) | (form.sat ? kSat : 0) | (form.nan ? kNan : 0) |
                                                 (form.relu ? kRelu : 0));
  instruction_.conversion.round = static_cast<std::uint8_t>(form.round);
  const InstructionSyntax& syntax = statement_->instruction;
  if (!syntax.guard.empty()) {
    const auto guard = find_register(syntax.guard);
    if (!guard || guard->type != Type::pred) bad_operand(fmt::format("'{}' is not a predicate", syntax.guard));
    instruction_.guard = guard->offset;
    instruction_.guard_negated = syntax.guard_negated;
  }
  info_.form = form;
  kernel_.code.push_back(instruction_);
  kernel_.info.push_back(info_);
}

void KernelDecoder::decode_statement(const Statement& statement) {
  statement_ = &statement;
  switch (statement.kind) {
    case Statement::Kind::open_scope:
      scopes_.emplace_back().parent = scope_;
      scope_ = scopes_.size() - 1;
      break;
    case Statement::Kind::close_scope:
      scope_ = scopes_[scope_].parent;
      break;
    case Statement::Kind::registers:
      declare_registers(statement);
      break;
    case Statement::Kind::variable:
      declare_variable(statement.variable, scopes_[scope_]);
      break;
    case Statement::Kind::branch_targets:
      scopes_[scope_].target_lists[statement.label] = &statement;
      for (const std::string_view target : statement.targets)
        label_uses_.push_back({&checked_target_, 0, scope_, target, statement.line});
      break;
    case Statement::Kind::label:
      if (!scopes_[scope_].labels.try_emplace(statement.label, static_cast<std::uint32_t>(kernel_.code.size())).second)
        fail(Fault::syntax, fmt::format("label '{}' is defined twice", statement.label));
      break;
    case Statement::Kind::instruction: {
      Modifiers modifiers(statement.instruction.opcode);
      const auto found = decoders().find(modifiers.base());
      if (found == decoders().end()) refuse();
      begin(statement);
      (this->*found->second)(modifiers);
      break;
    }
  }
}

void KernelDecoder::finish() {
  for (const LabelUse& use : label_uses_) {
    const std::uint32_t* target = nullptr;
    for (std::size_t scope = use.scope; target == nullptr; scope = scopes_[scope].parent) {
      const auto found = scopes_[scope].labels.find(use.label);
      if (found != scopes_[scope].labels.end()) target = &found->second;
      if (scope == 0) break;
    }
    if (target == nullptr)
      throw MachineError(Fault::syntax, fmt::format("kernel '{}', line {}: label '{}' is not defined", kernel_.name,
                                                    use.line, use.label));
    (use.where != nullptr ? *use.where : kernel_.code[use.instruction].target) = *target;
  }
  const std::uint64_t padded = align_up(shared_bytes_, dynamic_addresses_.empty() ? 1 : dynamic_align_);
  kernel_.static_shared_bytes = static_cast<std::uint32_t>(padded);
  for (const DynamicAddress& use : dynamic_addresses_)
    kernel_.constants[use.constant].value = kSharedBase + padded + static_cast<std::uint64_t>(use.addend);
  kernel_.local_bytes = static_cast<std::uint32_t>(align_up(local_bytes_, 16));
  for (const auto& [name, values] : entry_.limits) {
    auto* limit = name == "maxntid" ? &kernel_.max_block : name == "reqntid" ? &kernel_.required_block : nullptr;
    if (limit == nullptr) continue;
    limit->fill(1);
    std::copy_n(values.begin(), std::min<std::size_t>(values.size(), 3), limit->begin());
  }
}

Kernel KernelDecoder::run() {
  lay_out_parameters();
  for (const Statement& statement : entry_.body) decode_statement(statement);
  // Falling off the end is the same as returning.
  begin(entry_.body.back());
  instruction_.flow = Flow::exit;
  info_.text = "the end of the kernel";
  kernel_.code.push_back(instruction_);
  kernel_.info.push_back(info_);
  statement_ = nullptr;
  finish();
  return std::move(kernel_);
}

}  // namespace librt::ptx
