#include "src/ptx/sanitizer_registers.hpp"

#include <algorithm>
#include <map>

namespace librt::ptx {
namespace {

/// A set of registers, by offset / 4 renumbered densely.
using Set = std::vector<std::uint64_t>;

class Numbers {
 public:
  explicit Numbers(const Kernel& kernel) {
    for (const InstructionInfo& info : kernel.info) {
      for (const auto& r : info.written) add(r.offset);
      for (const auto& r : info.read) add(r.offset);
    }
    for (const Instruction& in : kernel.code)
      if (in.guard != 0) add(in.guard);
  }
  std::uint32_t operator[](std::uint32_t offset) const { return numbers_.at(offset); }
  std::size_t size() const { return numbers_.size(); }

 private:
  void add(std::uint32_t offset) { numbers_.try_emplace(offset, static_cast<std::uint32_t>(numbers_.size())); }
  std::map<std::uint32_t, std::uint32_t> numbers_;
};

bool has(const Set& set, std::uint32_t n) {
  return ((set[n / 64] >> (n % 64)) & 1u) != 0;
}
void put(Set& set, std::uint32_t n) {
  set[n / 64] |= std::uint64_t{1} << (n % 64);
}

void write_all(const Kernel& kernel, const Numbers& numbers, std::size_t at, Set& set) {
  if (kernel.code[at].guard != 0) return;
  for (const auto& r : kernel.info[at].written) put(set, numbers[r.offset]);
}

/// Where the code can go on after an instruction that ends a block.
std::vector<std::size_t> successors(const Kernel& kernel, std::size_t at) {
  const Instruction& in = kernel.code[at];
  std::vector<std::size_t> next;
  if (in.flow == Flow::branch) next.push_back(in.target);
  if (in.flow == Flow::branch_table) next.assign(in.list, in.list + in.immediate);
  const bool leaves = in.flow == Flow::branch || in.flow == Flow::branch_table || in.flow == Flow::exit;
  if ((!leaves || in.guard != 0) && at + 1 < kernel.code.size()) next.push_back(at + 1);
  return next;
}

bool ends_block(const Instruction& in) {
  return in.flow == Flow::branch || in.flow == Flow::branch_table || in.flow == Flow::exit;
}

/// Per first instruction of a block, the registers that are written on every path to it.
std::map<std::size_t, Set> written_before(const Kernel& kernel, const Numbers& numbers) {
  const std::size_t words = (numbers.size() + 63) / 64;
  std::vector<bool> leads(kernel.code.size() + 1, false);
  leads[0] = true;
  for (std::size_t i = 0; i < kernel.code.size(); ++i) {
    if (!ends_block(kernel.code[i])) continue;
    leads[i + 1] = true;
    for (const std::size_t next : successors(kernel, i)) leads[next] = true;
  }
  std::map<std::size_t, Set> before;
  before[0] = Set(words, 0);
  std::vector<std::size_t> open{0};
  while (!open.empty()) {
    std::size_t at = open.back();
    open.pop_back();
    Set set = before[at];
    for (;; ++at) {
      write_all(kernel, numbers, at, set);
      if (ends_block(kernel.code[at]) || at + 1 >= kernel.code.size() || leads[at + 1]) break;
    }
    for (const std::size_t next : successors(kernel, at)) {
      const auto [found, inserted] = before.try_emplace(next, set);
      bool changed = inserted;
      for (std::size_t w = 0; w < words; ++w) {
        const std::uint64_t both = found->second[w] & set[w];
        changed = changed || both != found->second[w];
        found->second[w] = both;
      }
      if (changed) open.push_back(next);
    }
  }
  return before;
}

}  // namespace

RegisterPlan::RegisterPlan(const Kernel& kernel)
    : doubtful_(kernel.code.size()), followed_(kernel.code.size()), guard_doubtful_(kernel.code.size()) {
  if (kernel.code.empty()) return;
  const Numbers numbers(kernel);
  std::map<std::uint32_t, std::uint32_t> tracked;  // number to place among the doubtful
  const auto place = [&](std::uint32_t n) {
    return tracked.try_emplace(n, static_cast<std::uint32_t>(tracked.size())).first->second;
  };
  const std::map<std::size_t, Set> before = written_before(kernel, numbers);
  for (auto block = before.begin(); block != before.end(); ++block) {
    Set set = block->second;
    const std::size_t end = std::next(block) == before.end() ? kernel.code.size() : std::next(block)->first;
    for (std::size_t at = block->first; at < end; ++at) {
      const std::uint32_t guard = kernel.code[at].guard;
      if (guard != 0 && !has(set, numbers[guard])) {
        guard_doubtful_[at] = true;
        doubtful_[at].push_back(place(numbers[guard]));
      }
      for (const auto& r : kernel.info[at].read)
        if (!has(set, numbers[r.offset])) doubtful_[at].push_back(place(numbers[r.offset]));
      write_all(kernel, numbers, at, set);
      if (ends_block(kernel.code[at])) break;
    }
  }
  for (std::size_t at = 0; at < kernel.code.size(); ++at)
    for (const auto& r : kernel.info[at].written)
      if (const auto found = tracked.find(numbers[r.offset]); found != tracked.end())
        followed_[at].push_back(found->second);
  count_ = static_cast<std::uint32_t>(tracked.size());
}

}  // namespace librt::ptx
