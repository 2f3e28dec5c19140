// Turns the syntax tree of one entry into a Kernel: allocates registers, lays out parameters, shared and local memory,
// and matches each instruction in full. What is not matched is refused.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/ptx/form.hpp"
#include "src/ptx/machine.hpp"
#include "src/ptx/program.hpp"
#include "src/ptx/syntax.hpp"

namespace librt::ptx {

/// The parts of an opcode after the base, in order.
class Modifiers {
 public:
  explicit Modifiers(std::string_view opcode);
  std::string_view base() const { return base_; }
  bool take(std::string_view name);
  /// The first of `names` that comes next, or empty.
  std::string_view take_any(std::initializer_list<std::string_view> names);
  std::optional<Type> take_type();
  bool done() const { return at_ == parts_.size(); }

 private:
  std::string_view base_;
  std::vector<std::string_view> parts_;
  std::size_t at_ = 0;
};

/// A variable that an operand can name.
struct Symbol {
  Space space = Space::global;
  std::uint64_t offset = 0;    ///< in the window of its space
  std::uint32_t variable = 0;  ///< global and const: index into Program::variables
  bool dynamic = false;        ///< starts at the end of static shared memory
};

class KernelDecoder {
 public:
  KernelDecoder(const std::map<std::string_view, Symbol>& globals,
                const std::vector<VariableDeclaration>& module_shared, const EntrySyntax& entry, InstructionSet set);
  Kernel run();

 private:
  struct Family {
    Type type = Type::none;
    bool numbered = false;
    std::vector<std::uint32_t> offsets;  ///< 0 = no storage yet
  };
  struct RegisterRef {
    Type type = Type::none;
    std::uint32_t offset = 0;
  };
  struct Scope {
    std::size_t parent = 0;
    std::map<std::string_view, Family> families;
    /// The smallest n of the plain registers named `prefix` n: those that %prefix<count> would name too.
    std::map<std::string_view, std::uint32_t> numbers;
    std::map<std::string_view, Symbol> symbols;
    std::map<std::string_view, std::uint32_t> labels;
    std::map<std::string_view, const Statement*> target_lists;
  };
  struct LabelUse {
    std::uint32_t* where;  ///< in a list, or null: the instruction's target
    std::size_t instruction;
    std::size_t scope;
    std::string_view label;
    std::uint32_t line;
  };
  using DecodeFunction = void (KernelDecoder::*)(Modifiers&);
  static const std::map<std::string_view, DecodeFunction>& decoders();

  // decoder.cpp: layout and statements
  void lay_out_parameters();
  void declare_variable(const VariableDeclaration& declaration, Scope& scope);
  void declare_registers(const Statement& statement);
  void check_new_registers(const RegisterDeclaration& declaration);
  void decode_statement(const Statement& statement);
  void finish();
  [[noreturn]] void fail(Fault fault, std::string_view message) const;
  [[noreturn]] void refuse() const;
  [[noreturn]] void bad_operand(std::string_view what) const;

  // operands.cpp
  std::uint32_t allocate(std::uint32_t bytes_per_lane);
  std::optional<RegisterRef> find_register(std::string_view name);
  const Symbol* find_symbol(std::string_view name) const;
  std::uint32_t constant(std::uint32_t bytes, std::uint64_t value);
  std::uint32_t special(std::string_view name, Type type);
  std::uint32_t symbol_address(const Symbol& symbol, std::int64_t addend, std::uint32_t bytes);
  std::uint64_t literal(const Operand& operand, Type type) const;
  void check_type(std::string_view name, Type wanted, Type found) const;
  std::uint32_t source(const Operand& operand, Type type);
  std::uint32_t source(std::size_t index, Type type) { return source(operand(index), type); }
  std::uint32_t destination(const Operand& operand, Type type);
  std::uint32_t destination(std::size_t index, Type type) { return destination(operand(index), type); }
  std::uint32_t destination_name(std::string_view name, Type type);
  /// A register of ld, st or cvt, which may be wider than the type; returns its width in bytes.
  std::pair<std::uint32_t, std::uint8_t> wide_register(const Operand& operand, Type type, bool written);
  std::uint32_t predicate_source(const Operand& operand, bool& negated);
  void address(const Operand& operand, Space space);
  std::uint32_t* new_list(std::size_t count);
  const Operand& operand(std::size_t index) const;
  void expect_operands(std::size_t low, std::size_t high) const;
  void note(std::vector<InstructionInfo::Register>& list, std::uint32_t offset, std::uint32_t bytes);

  // emission
  void emit(const Form& form);
  void begin(const Statement& statement);

  // decode_arithmetic.cpp
  void add_or_subtract(Modifiers& m);
  void multiply(Modifiers& m);
  void multiply_add(Modifiers& m);
  void divide(Modifiers& m);
  void remainder(Modifiers& m);
  void absolute_or_negate(Modifiers& m);
  void minimum_or_maximum(Modifiers& m);
  void carry_arithmetic(Modifiers& m);
  void bitwise(Modifiers& m);
  void shift(Modifiers& m);
  void funnel_shift(Modifiers& m);
  void logic3(Modifiers& m);
  void permute(Modifiers& m);
  void bit_field(Modifiers& m);
  void count_bits(Modifiers& m);
  void sum_of_differences(Modifiers& m);
  void approximation(Modifiers& m);
  void copy_sign(Modifiers& m);
  void three_sources(Form form, Type d, Type a, Type b, Type c);
  void two_sources(Form form, Type d, Type a, Type b);

  // decode_move.cpp
  void move(Modifiers& m);
  void move_vector(Type type);
  void select(Modifiers& m);
  void select_by_sign(Modifiers& m);
  void set_predicate(Modifiers& m);
  void set_register(Modifiers& m);
  void compare_operands(Form& form, Type type, std::size_t first);
  bool take_comparison(Modifiers& m, Form& form);
  void test_property(Modifiers& m);
  void convert(Modifiers& m);
  void convert_address(Modifiers& m);
  void is_space(Modifiers& m);

  // decode_memory.cpp
  struct Access {
    Space space = Space::generic;
    bool ordered = false;
    unsigned policies = 0;  ///< operands that name a cache policy
  };
  Access take_access(Modifiers& m, bool is_load);
  void load(Modifiers& m);
  void store(Modifiers& m);
  void transfer(Modifiers& m, bool is_load);
  void atomic(Modifiers& m);
  void copy_async(Modifiers& m);
  void copy_async_bytes(Modifiers& m);
  void matrix_transfer(Modifiers& m);
  void matrix_multiply(Modifiers& m);
  void prefetch(Modifiers& m);
  void create_policy(Modifiers& m);

  // decode_control.cpp
  void branch(Modifiers& m);
  void branch_indexed(Modifiers& m);
  void leave(Modifiers& m);
  void trap(Modifiers& m);
  void barrier(Modifiers& m);
  void fence(Modifiers& m);
  void pause(Modifiers& m);
  void shuffle(Modifiers& m);
  void vote(Modifiers& m);
  void match(Modifiers& m);
  void reduce(Modifiers& m);
  void elect(Modifiers& m);
  void active_mask(Modifiers& m);

  const std::map<std::string_view, Symbol>& globals_;
  const EntrySyntax& entry_;
  InstructionSet set_;
  Kernel kernel_;
  std::vector<Scope> scopes_;
  std::size_t scope_ = 0;
  std::size_t next_scope_ = 1;
  std::vector<LabelUse> label_uses_;
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::uint32_t> constants_;
  struct DynamicAddress {
    std::size_t constant;
    std::int64_t addend;
  };
  std::vector<DynamicAddress> dynamic_addresses_;
  std::map<std::string_view, std::uint32_t> specials_;
  std::size_t declared_registers_ = 0;
  std::uint64_t dynamic_align_ = 16;
  std::uint64_t shared_bytes_ = 0, local_bytes_ = 0;
  std::uint32_t predicate_next_ = 0, predicate_end_ = 0;
  std::uint32_t sink_ = 0, carry_ = 0;
  std::uint32_t checked_target_ = 0;  ///< of branch targets that are only checked
  const Statement* statement_ = nullptr;
  Instruction instruction_;
  InstructionInfo info_;
};

/// Parses and decodes a module for an instruction set of the host; Module::parse takes the native one.
std::shared_ptr<const Program> build_program(std::string_view text, InstructionSet set);

}  // namespace librt::ptx
