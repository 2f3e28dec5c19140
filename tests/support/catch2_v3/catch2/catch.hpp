// Catch2 3 under the name and with the words of Catch2 2: the tests are written for both, and are compiled with this
// directory in front where 3 is installed.
#pragma once

#include <catch2/catch_all.hpp>

#include <string>

namespace Catch {

using Matchers::EndsWith;
using Matchers::Equals;
using Matchers::Matches;
using Matchers::Predicate;
using Matchers::StartsWith;
using TestEventListenerBase = EventListenerBase;

/// Of a text; in Catch2 3 Matchers::Contains is about ranges, so tests say Catch::Contains.
inline auto Contains(const std::string& text, CaseSensitive case_sensitivity = CaseSensitive::Yes) {
  return Matchers::ContainsSubstring(text, case_sensitivity);
}

}  // namespace Catch

using Catch::Approx;
