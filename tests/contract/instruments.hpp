// The four instruments that guard the promise, each by itself, so that a test can tell which of them sees what.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "tests/contract/scenarios.hpp"

namespace librt::test {

enum class Instrument {
  reference,  ///< values against attention in double precision; padding holds zeros
  poison,     ///< no bit changes when padding, other requests' pages or unowned table entries hold something else
  taint,      ///< labels of padding, which holds zeros, followed to outputs, addresses and branches
  sanitizer,  ///< races, unwritten bytes, copies in flight, accesses out of bounds, deadlocks, hangs
};

inline constexpr std::array kInstruments{Instrument::reference, Instrument::poison, Instrument::taint,
                                         Instrument::sanitizer};

std::string_view to_string(Instrument instrument) noexcept;

enum class Verdict {
  silent,
  caught,
  /// The machine has ended a launch (which is for the sanitizer to report) before the instrument had anything to say.
  stopped,
};

struct Judgement {
  Verdict verdict = Verdict::silent;
  std::string why;  ///< empty if silent
};

Judgement judge(Instrument instrument, MachineKernels& kernels, const Scenario& scenario);

}  // namespace librt::test
