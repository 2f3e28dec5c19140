// The PTX machine: parses the text of one PTX module and executes its kernels on the CPU.
//
// It is a reference machine and an instrument, not a fast CPU backend. It knows nothing of librt: text and bytes in,
// bytes out. Decoding is strict: an instruction form that is not known in full (base, every modifier, every type) is
// refused when the module is parsed, never executed approximately.
//
// Thread safety: a Module is immutable after parse() and may be shared by any number of launches. A Memory may be used
// by one launch at a time; its own allocate/read/write calls must not run during a launch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace librt::ptx {

/// What went wrong; one value per class of finding, so that tests need not match on text.
enum class Fault {
  syntax,             ///< the module text is not PTX that this machine can read
  unsupported,        ///< a directive, instruction form or operand that this machine does not know, by its full name
  launch,             ///< unknown entry, wrong parameter bytes, impossible grid, block or shared memory size
  out_of_bounds,      ///< global, shared, local or parameter access outside every object
  misaligned,         ///< an access that is not aligned to its own size
  deadlock,           ///< no warp of a CTA can make progress
  illegal_sync,       ///< a `.sync` mask that the executing lanes contradict, or a barrier misused
  trap,               ///< the kernel executed `trap`
  instruction_limit,  ///< the launch executed more warp instructions than LaunchOptions allows
};

std::string_view to_string(Fault fault) noexcept;

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;
};

/// Where in a launch something happened.
struct CodePlace {
  std::string kernel;
  std::string instruction;
  std::uint32_t line = 0;   ///< of the PTX text
  std::string source_file;  ///< from `.loc`; empty = unknown
  std::uint32_t source_line = 0;
  unsigned lane = 0, warp = 0;
  Dim3 cta;
};

/// "line 9 (kernel.cu:4): 'st.global.u32 ...', lane 3 of warp 1 of CTA (0, 0, 0)"
std::string to_string(const CodePlace& place);

/// What an access was to.
struct Accessed {
  std::uint64_t address = 0;
  std::string memory;  ///< where that is: "it is byte 8 of 'k_pages' (4096 bytes)"
};

/// Thrown by Module::parse and launch. what() is complete by itself: it names the kernel, the line of the PTX text,
/// the instruction, the lane, warp and CTA, and for addresses the nearest allocation, as far as each is known.
class MachineError : public std::runtime_error {
 public:
  MachineError(Fault fault, const std::string& message);
  /// @param place of the instruction that is at fault; the message names it too
  /// @param accessed by it, where the access is the fault
  MachineError(Fault fault, const std::string& message, CodePlace place, std::optional<Accessed> accessed);
  ~MachineError() override;
  Fault fault() const noexcept { return fault_; }
  /// Null where the fault is nowhere; a deadlock has a kernel and a CTA, but no instruction.
  const CodePlace* place() const noexcept { return place_.get(); }
  const std::optional<Accessed>& accessed() const noexcept { return accessed_; }

 private:
  Fault fault_;
  std::shared_ptr<const CodePlace> place_;
  std::optional<Accessed> accessed_;
};

struct Program;  // decoded form, private to src/ptx

class Module {
 public:
  /// Parses and decodes the whole text. Throws MachineError (syntax, unsupported) naming the line.
  static Module parse(std::string_view text);

  /// Value of the `.target` directive without its comma-separated options, e.g. "sm_90a".
  const std::string& target() const noexcept;
  /// Value of the `.version` directive, e.g. "9.0".
  const std::string& version() const noexcept;
  /// Names of the `.entry` functions in the order of the text.
  std::vector<std::string> entries() const;
  const Program& program() const noexcept { return *program_; }

 private:
  explicit Module(std::shared_ptr<const Program> program);
  std::shared_ptr<const Program> program_;
};

/// Global memory. Every allocation lies in its own address range, 2^36 bytes from its neighbours, with nothing mapped
/// between them, so that any stray access is an error and never lands in another object. Addresses are never reused.
/// allocate() leaves the bytes unspecified (a fixed non-zero pattern); it is aligned to 256 bytes.
class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  /// @param label names the buffer in error messages. Zero bytes is allowed: a range in which nothing may be accessed.
  std::uint64_t allocate(std::size_t bytes, std::string label);
  /// Throws MachineError(out_of_bounds) unless `address` is the start of a live allocation.
  void release(std::uint64_t address);
  /// Both throw MachineError(out_of_bounds) unless the whole range lies in one allocation.
  void write(std::uint64_t address, std::span<const std::byte> bytes);
  void read(std::uint64_t address, std::span<std::byte> bytes) const;
  std::size_t bytes_in_use() const noexcept;
  /// Records of allocations that the memory keeps: those that live and a bounded number of others.
  std::size_t records() const noexcept;

  struct Impl;
  Impl& impl() noexcept { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// When the bytes of a cp.async arrive: as late as the PTX memory model allows, at issue, or at a moment drawn from
/// the seed. A correct kernel gives the same result under all three.
enum class CopyTiming { late, early, random };

struct LaunchOptions {
  Dim3 grid;
  Dim3 block;
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint32_t max_shared_bytes = 232448;  ///< limit per CTA, static plus dynamic
  unsigned threads = 1;                     ///< host threads over the CTAs; the bits do not depend on it
  CopyTiming copy_timing = CopyTiming::late;
  std::uint64_t seed = 0;  ///< for CopyTiming::random
  std::uint64_t max_warp_instructions = std::uint64_t{1} << 40;
  /// What %envreg0 to %envreg31 hold, which is up to the driver: a cooperative launch has the address of a zeroed
  /// workspace of the grid there, its high half in 1 and its low half in 2.
  std::array<std::uint32_t, 32> environment{};
};

struct LaunchStats {
  std::uint64_t warp_instructions = 0;
  std::uint64_t ctas = 0;
};

/// Runs the whole grid and returns when it is done.
/// @param params the bytes of the parameter space of `entry`, at the offsets of the PTX ABI (size must match exactly).
/// Throws MachineError; the contents of global memory are then unspecified, but the Memory stays usable.
LaunchStats launch(const Module& module, Memory& memory, std::string_view entry, std::span<const std::byte> params,
                   const LaunchOptions& options);

}  // namespace librt::ptx
