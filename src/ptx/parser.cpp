#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "src/ptx/machine.hpp"
#include "src/ptx/syntax.hpp"
#include "src/ptx/token_stream.hpp"

namespace librt::ptx {
namespace {

std::optional<Space> space_of_directive(std::string_view word) {
  if (word == ".global") return Space::global;
  if (word == ".const") return Space::constant;
  if (word == ".shared" || word == ".shared::cta") return Space::shared;
  if (word == ".local") return Space::local;
  if (word == ".param") return Space::param;
  return std::nullopt;
}

constexpr std::array<std::string_view, 5> kBlockLimits = {".maxntid", ".reqntid", ".minnctapersm", ".maxnctapersm",
                                                          ".maxnreg"};
constexpr std::uint64_t kLargestVariable = std::uint64_t{1} << 30;
// What a module may take: far more than a compiler writes, little enough that no text costs much to refuse.
constexpr std::size_t kMostText = std::size_t{8} << 20;
constexpr std::size_t kMostStatements = std::size_t{1} << 19;
constexpr std::size_t kMostEntries = 4096;
constexpr std::size_t kMostVariables = 4096;
constexpr unsigned kMostNesting = 256;

class Parser {
 public:
  explicit Parser(std::string_view text) : tokens_(text) {}

  ModuleSyntax run() {
    while (!tokens_.at_end()) directive();
    if (module_.version.empty() || module_.target.empty())
      throw MachineError(Fault::syntax, "line 1: the module needs a .version and a .target directive");
    return std::move(module_);
  }

 private:
  void directive() {
    const Token token = tokens_.peek();
    const std::string_view word = tokens_.word("a directive");
    if (word == ".version") {
      module_.version = tokens_.take().text;
    } else if (word == ".target") {
      module_.target = tokens_.word("a target");
      while (tokens_.accept(",")) tokens_.word("a target option");
    } else if (word == ".address_size") {
      if (tokens_.unsigned_integer("an address size") != 64) tokens_.unsupported(token.line, "an address size but 64");
    } else if (word == ".file") {
      file_directive(token.line);
    } else if (word == ".loc") {
      tokens_.skip_line(token.line);
    } else if (word == ".section") {
      tokens_.word("a section name");
      tokens_.skip_braces();
    } else if (word == ".entry") {
      entry();
    } else if (word == ".func") {
      // A function's body is only reached by `call`, which no entry of a readable module has.
      while (!tokens_.at_end() && !tokens_.next_is(";") && !tokens_.next_is("{")) tokens_.take();
      if (tokens_.next_is("{"))
        tokens_.skip_braces();
      else
        tokens_.expect(";");
    } else if (word == ".extern") {
      external_ = true;
      return;
    } else if (word != ".visible" && word != ".weak") {
      const auto space = space_of_directive(word);
      if (!space || *space == Space::param || *space == Space::local) tokens_.unsupported(token.line, word);
      add_variable(variable(*space, token.line));
      while (tokens_.accept(",")) add_variable(declarator(module_.variables.back()));
      tokens_.expect(";");
    } else {
      return;
    }
    external_ = false;
  }

  void add_variable(VariableDeclaration declaration) {
    if (module_.variables.size() >= kMostVariables)
      tokens_.unsupported(declaration.line, fmt::format("more than {} variables outside of entries", kMostVariables));
    module_.variables.push_back(std::move(declaration));
  }

  void file_directive(std::uint32_t line) {
    const std::uint64_t number = tokens_.unsigned_integer("a file number");
    if (tokens_.peek().kind != TokenKind::string || number > 0xffffffffu) tokens_.fail("a file name");
    module_.files[static_cast<std::uint32_t>(number)] = tokens_.take().text;
    tokens_.skip_line(line);
  }

  VariableDeclaration variable(Space space, std::uint32_t line) {
    VariableDeclaration declaration;
    declaration.space = space;
    declaration.line = line;
    std::uint64_t vector = 1, align = 0;
    for (;;) {
      const std::string_view word = tokens_.word("a type");
      if (word == ".align") {
        align = tokens_.unsigned_integer("an alignment");
        if (align == 0 || align > 4096 || (align & (align - 1)) != 0) tokens_.fail("an alignment that is a power of 2");
      } else if (word == ".v2" || word == ".v4") {
        vector = word == ".v2" ? 2 : 4;
      } else if (word == ".ptr") {
        // The attribute of a pointer parameter is a promise about what it points to, not part of its layout.
        static_cast<void>(space_of_directive(tokens_.peek().text) && tokens_.take().line);
        if (tokens_.accept(".align")) tokens_.unsigned_integer("an alignment");
        break;
      } else {
        const auto type = type_from_name(word.starts_with('.') ? word.substr(1) : word);
        if (!type || *type == Type::pred || *type == Type::b128)
          tokens_.unsupported(line, fmt::format("type '{}'", word));
        declaration.type = *type;
        if (!tokens_.next_is(".ptr")) break;
      }
    }
    if (bytes_of(declaration.type) == 0) tokens_.fail("a type before .ptr");
    declaration.align = std::max<std::uint64_t>(align, align == 0 ? vector * bytes_of(declaration.type) : 1);
    vector_ = vector;
    return declarator(declaration);
  }

  VariableDeclaration declarator(VariableDeclaration declaration) {
    declaration.name = tokens_.word("a variable name");
    declaration.external = external_;
    declaration.elements = vector_;
    declaration.unsized = false;
    declaration.initial.clear();
    std::vector<std::uint64_t> extents;
    while (tokens_.accept("[")) {
      if (extents.size() == 8) tokens_.fail("at most 8 dimensions");
      if (tokens_.accept("]")) {
        if (declaration.unsized || !extents.empty()) tokens_.fail("an array size");
        declaration.unsized = true;
        extents.push_back(kLargestVariable);
        continue;
      }
      extents.push_back(tokens_.unsigned_integer("an array size"));
      if (extents.back() > kLargestVariable) tokens_.fail("a smaller array");
      if (extents.back() != 0 && declaration.elements > kLargestVariable / extents.back())
        tokens_.fail("a smaller array");
      declaration.elements *= extents.back();
      tokens_.expect("]");
    }
    if (vector_ > 1) extents.push_back(vector_);
    const std::uint64_t row = declaration.elements;
    if (declaration.unsized) declaration.elements = 0;
    if (tokens_.accept("=")) {
      if (tokens_.next_is("{"))
        initial_list(declaration, extents, 0, 0);
      else
        initial_value(declaration, 0);
    }
    if (declaration.unsized && !declaration.initial.empty()) {
      const std::uint64_t used = declaration.initial.back().element + 1;
      declaration.elements = (used + row - 1) / row * row;
    }
    return declaration;
  }

  void initial_list(VariableDeclaration& declaration, const std::vector<std::uint64_t>& extents, std::size_t depth,
                    std::uint64_t first) {
    tokens_.expect("{");
    if (depth >= extents.size()) tokens_.fail("a value without braces");
    std::uint64_t stride = 1;
    for (std::size_t inner = depth + 1; inner < extents.size(); ++inner) stride *= extents[inner];
    std::uint64_t element = first;
    const std::uint64_t end = first + extents[depth] * stride;
    while (!tokens_.accept("}")) {
      if (element != first) tokens_.expect(",");
      if (element >= end) tokens_.fail("'}': the array has no more elements");
      if (tokens_.next_is("{")) {
        initial_list(declaration, extents, depth + 1, element);
        element += stride;
      } else {
        initial_value(declaration, element++);
      }
    }
  }

  void initial_value(VariableDeclaration& declaration, std::uint64_t element) {
    const std::uint32_t line = tokens_.peek().line;
    if (tokens_.peek().kind == TokenKind::number && tokens_.peek(1).text == "(")
      tokens_.unsupported(line, "a masked address in an initialiser");
    Operand value;
    if (tokens_.next_is("generic")) {
      tokens_.take();
      tokens_.expect("(");
      value = parse_operand(tokens_);
      tokens_.expect(")");
      if (tokens_.accept("+")) value.value += static_cast<std::int64_t>(tokens_.unsigned_integer("an addend"));
    } else {
      value = parse_operand(tokens_);
    }
    if (value.kind == Operand::Kind::vector || value.kind == Operand::Kind::address) tokens_.fail("a value");
    declaration.initial.push_back({std::move(value), element});
  }

  void entry() {
    EntrySyntax entry;
    entry.line = tokens_.peek().line;
    if (module_.entries.size() >= kMostEntries)
      tokens_.unsupported(entry.line, fmt::format("more than {} entries", kMostEntries));
    entry.name = tokens_.word("the name of the entry");
    if (tokens_.accept("(")) {
      while (!tokens_.accept(")")) {
        if (!entry.parameters.empty()) tokens_.expect(",");
        const std::uint32_t line = tokens_.peek().line;
        tokens_.expect(".param");
        entry.parameters.push_back(variable(Space::param, line));
      }
    }
    while (!tokens_.next_is("{")) {
      const Token token = tokens_.peek();
      const std::string_view word = tokens_.word("a directive or '{'");
      if (std::find(kBlockLimits.begin(), kBlockLimits.end(), word) != kBlockLimits.end()) {
        auto& values = entry.limits[std::string(word.substr(1))];
        do {
          const std::uint64_t value = tokens_.unsigned_integer("a number");
          if (value > 0xffffffffu) tokens_.fail("a number below 2^32");
          values.push_back(static_cast<std::uint32_t>(value));
        } while (tokens_.accept(","));
      } else if (word == ".pragma") {
        pragma();
      } else {
        tokens_.unsupported(token.line, fmt::format("entry directive '{}'", word));
      }
    }
    body(entry);
    module_.entries.push_back(std::move(entry));
  }

  // Pragmas only advise the optimiser.
  void pragma() {
    do {
      if (tokens_.peek().kind != TokenKind::string) tokens_.fail("a string");
      tokens_.take();
    } while (tokens_.accept(","));
    tokens_.expect(";");
  }

  void body(EntrySyntax& entry) {
    unsigned depth = 0;
    source_file_ = source_line_ = 0;
    do {
      Statement statement;
      statement.line = tokens_.peek().line;
      if (tokens_.at_end()) tokens_.fail("'}'");
      if (++statements_ > kMostStatements)
        tokens_.unsupported(statement.line, fmt::format("more than {} statements", kMostStatements));
      if (tokens_.accept("{")) {
        if (++depth > kMostNesting)
          tokens_.unsupported(statement.line, fmt::format("more than {} scopes inside each other", kMostNesting));
        statement.kind = Statement::Kind::open_scope;
      } else if (tokens_.accept("}")) {
        --depth;
        statement.kind = Statement::Kind::close_scope;
      } else if (tokens_.accept(";") || (tokens_.peek().text.starts_with('.') && !body_directive(statement))) {
        continue;
      } else if (statement.kind == Statement::Kind::instruction) {
        label_or_instruction(statement);
      }
      statement.source_file = source_file_;
      statement.source_line = source_line_;
      entry.body.push_back(std::move(statement));
    } while (depth > 0);
  }

  /// Returns whether the directive is a statement of its own; leaves `kind` changed in that case.
  bool body_directive(Statement& statement) {
    const std::string_view word = tokens_.word("a directive");
    if (word == ".loc") {
      source_file_ = static_cast<std::uint32_t>(tokens_.unsigned_integer("a file number"));
      source_line_ = static_cast<std::uint32_t>(tokens_.unsigned_integer("a line number"));
      tokens_.unsigned_integer("a column");
      tokens_.skip_line(statement.line);
      return false;
    }
    if (word == ".pragma") {
      pragma();
      return false;
    }
    if (word == ".reg") {
      registers(statement);
      return true;
    }
    const auto space = space_of_directive(word);
    if (space == Space::param) tokens_.unsupported(statement.line, "a call (.param variables in an entry)");
    if (!space || *space == Space::constant || *space == Space::global)
      tokens_.unsupported(statement.line, fmt::format("directive '{}' in an entry", word));
    statement.kind = Statement::Kind::variable;
    statement.variable = variable(*space, statement.line);
    tokens_.expect(";");
    return true;
  }

  void registers(Statement& statement) {
    statement.kind = Statement::Kind::registers;
    const std::string_view word = tokens_.word("a register type");
    const auto type = type_from_name(word.substr(1));
    if (!word.starts_with('.') || !type || *type == Type::b128)
      tokens_.unsupported(statement.line, fmt::format("a register of type '{}'", word));
    do {
      RegisterDeclaration declaration{*type, tokens_.word("a register name"), std::nullopt};
      if (tokens_.accept("<")) {
        const std::uint64_t count = tokens_.unsigned_integer("a register count");
        if (count > 1u << 20) tokens_.fail("at most 2^20 registers");
        declaration.count = static_cast<std::uint32_t>(count);
        tokens_.expect(">");
      }
      statement.registers.push_back(declaration);
    } while (tokens_.accept(","));
    tokens_.expect(";");
  }

  void label_or_instruction(Statement& statement) {
    if (tokens_.peek(1).text == ":" && tokens_.peek().kind == TokenKind::word) {
      statement.label = tokens_.take().text;
      tokens_.take();
      if (!tokens_.next_is(".branchtargets")) {
        statement.kind = Statement::Kind::label;
        return;
      }
      tokens_.take();
      statement.kind = Statement::Kind::branch_targets;
      do statement.targets.push_back(tokens_.word("a label"));
      while (tokens_.accept(","));
      tokens_.expect(";");
      return;
    }
    InstructionSyntax& instruction = statement.instruction;
    const Token first = tokens_.peek();
    if (tokens_.accept("@")) {
      instruction.guard_negated = tokens_.accept("!");
      instruction.guard = tokens_.word("a predicate");
    }
    statement.line = tokens_.peek().line;
    instruction.opcode = tokens_.word("an instruction");
    while (!tokens_.next_is(";")) {
      if (!instruction.operands.empty()) tokens_.expect(",");
      if (instruction.operands.size() >= 64) tokens_.fail("at most 64 operands");
      instruction.operands.push_back(parse_operand(tokens_));
    }
    instruction.text = tokens_.text_since(first);
    tokens_.expect(";");
  }

  TokenStream tokens_;
  ModuleSyntax module_;
  bool external_ = false;
  std::size_t statements_ = 0;
  std::uint64_t vector_ = 1;
  std::uint32_t source_file_ = 0, source_line_ = 0;
};

}  // namespace

ModuleSyntax parse_syntax(std::string_view text) {
  if (text.size() > kMostText)
    throw MachineError(Fault::unsupported, fmt::format("line 1: the module has {} bytes of text, at most {} are read",
                                                       text.size(), kMostText));
  return Parser(text).run();
}

}  // namespace librt::ptx
