// Operands: registers, literals, special registers, symbols and addresses.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "src/ptx/decoder.hpp"

namespace librt::ptx {
namespace {

struct SpecialName {
  std::string_view name;
  Special which;
  unsigned bytes;
};

constexpr std::array kSpecials = {
    SpecialName{"%tid.x", Special::tid_x, 4},
    SpecialName{"%tid.y", Special::tid_y, 4},
    SpecialName{"%tid.z", Special::tid_z, 4},
    SpecialName{"%ntid.x", Special::ntid_x, 4},
    SpecialName{"%ntid.y", Special::ntid_y, 4},
    SpecialName{"%ntid.z", Special::ntid_z, 4},
    SpecialName{"%ctaid.x", Special::ctaid_x, 4},
    SpecialName{"%ctaid.y", Special::ctaid_y, 4},
    SpecialName{"%ctaid.z", Special::ctaid_z, 4},
    SpecialName{"%nctaid.x", Special::nctaid_x, 4},
    SpecialName{"%nctaid.y", Special::nctaid_y, 4},
    SpecialName{"%nctaid.z", Special::nctaid_z, 4},
    SpecialName{"%laneid", Special::laneid, 4},
    SpecialName{"%warpid", Special::warpid, 4},
    SpecialName{"%nwarpid", Special::nwarpid, 4},
    SpecialName{"%lanemask_eq", Special::lanemask_eq, 4},
    SpecialName{"%lanemask_lt", Special::lanemask_lt, 4},
    SpecialName{"%lanemask_le", Special::lanemask_le, 4},
    SpecialName{"%lanemask_gt", Special::lanemask_gt, 4},
    SpecialName{"%lanemask_ge", Special::lanemask_ge, 4},
    SpecialName{"%smid", Special::smid, 4},
    SpecialName{"%nsmid", Special::nsmid, 4},
    SpecialName{"%gridid", Special::gridid, 8},
    SpecialName{"%dynamic_smem_size", Special::dynamic_smem_size, 4},
    SpecialName{"%total_smem_size", Special::total_smem_size, 4},
    SpecialName{"%clock", Special::clock, 4},
    SpecialName{"%clock64", Special::clock64, 8},
    SpecialName{"%globaltimer", Special::globaltimer, 8},
};

/// %envreg0 to %envreg31.
std::optional<std::uint32_t> environment_index(std::string_view name) {
  constexpr std::string_view kPrefix = "%envreg";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view digits = name.substr(kPrefix.size());
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  const bool plain = digits.size() == 1 || (digits.size() == 2 && digits.front() != '0');
  if (error != std::errc{} || end != digits.data() + digits.size() || !plain || index > 31) return std::nullopt;
  return index;
}

bool compatible(Type wanted, Type found) {
  if (is_untyped(wanted) || is_untyped(found)) return true;
  return is_float(wanted) == is_float(found);
}

bool fits(std::int64_t value, unsigned bytes) {
  if (bytes >= 8) return true;
  const std::int64_t range = std::int64_t{1} << (8 * bytes);
  return value < range && value >= -(range / 2);
}

unsigned register_bytes(Type type) {
  return std::max(bytes_of(type), type == Type::pred ? 0u : 2u);
}

}  // namespace

std::uint32_t KernelDecoder::allocate(std::uint32_t bytes_per_lane) {
  constexpr std::uint32_t kLine = 64;
  constexpr std::uint32_t kMostRegisterBytes = 1u << 28;
  if (kernel_.register_bytes > kMostRegisterBytes) fail(Fault::unsupported, "the kernel has too many registers");
  if (bytes_per_lane == 0) {
    if (predicate_next_ == predicate_end_) {
      predicate_next_ = kernel_.register_bytes;
      kernel_.register_bytes += kLine;
      predicate_end_ = kernel_.register_bytes;
    }
    return std::exchange(predicate_next_, predicate_next_ + 4);
  }
  return std::exchange(kernel_.register_bytes, kernel_.register_bytes + bytes_per_lane * kLanes);
}

std::optional<KernelDecoder::RegisterRef> KernelDecoder::find_register(std::string_view name) {
  std::string_view prefix = name;
  while (!prefix.empty() && prefix.back() >= '0' && prefix.back() <= '9') prefix.remove_suffix(1);
  const std::string_view digits = name.substr(prefix.size());
  const bool is_number = !digits.empty() && digits.size() < 9 && (digits.size() == 1 || digits.front() != '0');
  std::size_t number = 0;
  for (const char digit : digits) number = is_number ? number * 10 + static_cast<std::size_t>(digit - '0') : 0;
  for (std::size_t scope = scope_;; scope = scopes_[scope].parent) {
    auto& families = scopes_[scope].families;
    Family* family = nullptr;
    std::size_t index = 0;
    if (const auto exact = families.find(name); exact != families.end() && !exact->second.numbered) {
      family = &exact->second;
    } else if (const auto numbered = families.find(prefix);
               is_number && numbered != families.end() && numbered->second.numbered) {
      if (number < numbered->second.offsets.size()) {
        family = &numbered->second;
        index = number;
      }
    }
    if (family != nullptr) {
      std::uint32_t& offset = family->offsets[index];
      if (offset == 0) offset = allocate(register_bytes(family->type));
      return RegisterRef{family->type, offset};
    }
    if (scope == 0) return std::nullopt;
  }
}

const Symbol* KernelDecoder::find_symbol(std::string_view name) const {
  for (std::size_t scope = scope_;; scope = scopes_[scope].parent) {
    const auto found = scopes_[scope].symbols.find(name);
    if (found != scopes_[scope].symbols.end()) return &found->second;
    if (scope == 0) break;
  }
  const auto found = globals_.find(name);
  return found == globals_.end() ? nullptr : &found->second;
}

void KernelDecoder::note(std::vector<InstructionInfo::Register>& list, std::uint32_t offset, std::uint32_t bytes) {
  list.push_back({offset, static_cast<std::uint8_t>(bytes)});
}

std::uint32_t KernelDecoder::constant(std::uint32_t bytes, std::uint64_t value) {
  const auto [found, inserted] = constants_.try_emplace({bytes, value}, 0);
  if (inserted) {
    found->second = allocate(bytes);
    kernel_.constants.push_back({found->second, bytes, value});
  }
  return found->second;
}

std::uint32_t KernelDecoder::special(std::string_view name, Type type) {
  if (name == "WARP_SZ") return constant(std::max(bytes_of(type), 2u), kLanes);
  const auto environment = environment_index(name);
  const auto entry = std::find_if(kSpecials.begin(), kSpecials.end(), [&](const auto& s) { return s.name == name; });
  if (entry == kSpecials.end() && !environment) return 0;
  const SpecialName wanted = environment ? SpecialName{name, Special::envreg, 4} : *entry;
  if (bytes_of(type) != wanted.bytes || is_float(type))
    bad_operand(fmt::format("{} has {} bits", name, 8 * wanted.bytes));
  const auto [found, inserted] = specials_.try_emplace(wanted.name, 0);
  if (inserted) {
    found->second = allocate(wanted.bytes);
    kernel_.specials.push_back({found->second, wanted.which, environment.value_or(0)});
  }
  return found->second;
}

std::uint32_t KernelDecoder::symbol_address(const Symbol& symbol, std::int64_t addend, std::uint32_t bytes) {
  const bool in_memory = symbol.space == Space::global || symbol.space == Space::constant;
  if (bytes != 8 && (bytes != 4 || in_memory)) bad_operand("an address has 64 bits");
  if (in_memory) {
    // The addend goes to the instruction where there is an address operand; a plain value needs its own register.
    const std::uint32_t offset = allocate(8);
    kernel_.addresses.push_back({offset, symbol.variable, addend});
    return offset;
  }
  if (symbol.dynamic) {
    const std::uint32_t offset = allocate(bytes);
    kernel_.constants.push_back({offset, bytes, 0});
    dynamic_addresses_.push_back({kernel_.constants.size() - 1, addend});
    return offset;
  }
  return constant(bytes, symbol.offset + static_cast<std::uint64_t>(addend));
}

std::uint64_t KernelDecoder::literal(const Operand& operand, Type type) const {
  const auto bits = static_cast<std::uint64_t>(operand.value);
  const unsigned bytes = bytes_of(type);
  switch (operand.kind) {
    case Operand::Kind::integer:
      if (is_float(type) && type != Type::f16x2 && type != Type::bf16x2)
        bad_operand("a floating-point literal is expected");
      if (!fits(operand.value, bytes)) bad_operand(fmt::format("{} does not fit .{}", operand.value, to_string(type)));
      return bytes >= 8 ? bits : bits & ((std::uint64_t{1} << (8 * bytes)) - 1);
    case Operand::Kind::f32:
      if (type == Type::f64)
        return std::bit_cast<std::uint64_t>(
            static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits))));
      if (type != Type::f32 && type != Type::b32)
        bad_operand(fmt::format("a .f32 literal does not fit .{}", to_string(type)));
      return bits;
    case Operand::Kind::f64:
      if (type == Type::f32) return std::bit_cast<std::uint32_t>(static_cast<float>(std::bit_cast<double>(bits)));
      if (type != Type::f64 && type != Type::b64)
        bad_operand(fmt::format("a .f64 literal does not fit .{}", to_string(type)));
      return bits;
    default:
      bad_operand("a register or a number is expected");
  }
}

void KernelDecoder::check_type(std::string_view name, Type wanted, Type found) const {
  const bool same_size = register_bytes(wanted) == register_bytes(found);
  if ((wanted == Type::pred) != (found == Type::pred) ||
      (wanted != Type::pred && (!same_size || !compatible(wanted, found))))
    bad_operand(fmt::format("{} is .{}, .{} is expected", name, to_string(found), to_string(wanted)));
}

std::uint32_t KernelDecoder::source(const Operand& operand, Type type) {
  if (operand.negated) bad_operand("'!' is not possible here");
  const std::uint32_t bytes = register_bytes(type);
  if (operand.kind != Operand::Kind::name) {
    if (type == Type::pred) return constant(0, operand.value != 0 ? 1 : 0);
    return constant(bytes, literal(operand, type));
  }
  if (!operand.second.empty()) bad_operand("'|' is not possible here");
  if (const auto found = find_register(operand.name)) {
    if (operand.value != 0) bad_operand("a displacement is not possible here");
    check_type(operand.name, type, found->type);
    note(info_.read, found->offset, bytes);
    return found->offset;
  }
  if (const std::uint32_t offset = special(operand.name, type)) return offset;
  if (const Symbol* symbol = find_symbol(operand.name)) return symbol_address(*symbol, operand.value, bytes);
  bad_operand(fmt::format("'{}' is not declared", operand.name));
}

std::uint32_t KernelDecoder::destination_name(std::string_view name, Type type) {
  if (name == "_") return sink_;
  const auto found = find_register(name);
  if (!found) bad_operand(fmt::format("'{}' is not a declared register", name));
  check_type(name, type, found->type);
  note(info_.written, found->offset, register_bytes(type));
  return found->offset;
}

std::uint32_t KernelDecoder::destination(const Operand& operand, Type type) {
  if (operand.kind != Operand::Kind::name || operand.value != 0 || operand.negated || !operand.second.empty())
    bad_operand("a register is expected as the destination");
  return destination_name(operand.name, type);
}

std::pair<std::uint32_t, std::uint8_t> KernelDecoder::wide_register(const Operand& operand, Type type, bool written) {
  if (operand.kind == Operand::Kind::name && operand.name == "_" && written)
    return {sink_, static_cast<std::uint8_t>(register_bytes(type))};
  if (operand.kind == Operand::Kind::name && operand.second.empty() && operand.value == 0 && !operand.negated) {
    if (const auto found = find_register(operand.name)) {
      const unsigned bytes = register_bytes(found->type);
      const bool wider = bytes > register_bytes(type) && !is_float(type) && found->type != Type::pred;
      if (!wider) check_type(operand.name, type, found->type);
      note(written ? info_.written : info_.read, found->offset, bytes);
      return {found->offset, static_cast<std::uint8_t>(bytes)};
    }
  }
  if (written) return {destination(operand, type), static_cast<std::uint8_t>(register_bytes(type))};
  return {source(operand, type), static_cast<std::uint8_t>(register_bytes(type))};
}

std::uint32_t KernelDecoder::predicate_source(const Operand& operand, bool& negated) {
  Operand plain = operand;
  negated = std::exchange(plain.negated, false);
  return source(plain, Type::pred);
}

void KernelDecoder::address(const Operand& operand, Space space) {
  if (operand.kind != Operand::Kind::address) bad_operand("an address in brackets is expected");
  instruction_.space = space;
  instruction_.immediate = operand.value;
  instruction_.address_is_32 = false;
  if (operand.name.empty()) {
    instruction_.a = constant(8, 0);
    return;
  }
  if (const auto found = find_register(operand.name)) {
    const unsigned bytes = bytes_of(found->type);
    if (is_float(found->type) || bytes < 4) bad_operand(fmt::format("'{}' cannot hold an address", operand.name));
    if (bytes == 4 && (space == Space::generic || space == Space::global))
      bad_operand(fmt::format("'{}' has 32 bits, a {} address has 64", operand.name, to_string(space)));
    instruction_.a = found->offset;
    instruction_.address_is_32 = bytes == 4;
    note(info_.read, found->offset, bytes);
    return;
  }
  const Symbol* symbol = find_symbol(operand.name);
  if (symbol == nullptr) bad_operand(fmt::format("'{}' is not declared", operand.name));
  if (symbol->space != space)
    bad_operand(fmt::format("'{}' is in .{}, not in .{}", operand.name, to_string(symbol->space), to_string(space)));
  instruction_.a = symbol_address(*symbol, operand.value, 8);
  instruction_.immediate = 0;
}

std::uint32_t* KernelDecoder::new_list(std::size_t count) {
  kernel_.lists.push_back(std::make_unique<std::uint32_t[]>(count));
  instruction_.list = kernel_.lists.back().get();
  return kernel_.lists.back().get();
}

const Operand& KernelDecoder::operand(std::size_t index) const {
  const auto& operands = statement_->instruction.operands;
  if (index >= operands.size()) bad_operand(fmt::format("operand {} is missing", index + 1));
  return operands[index];
}

void KernelDecoder::expect_operands(std::size_t low, std::size_t high) const {
  const std::size_t count = statement_->instruction.operands.size();
  if (count < low || count > high) bad_operand(fmt::format("{} operands are not possible", count));
}

}  // namespace librt::ptx
