#include "tools/librt/progress_bar.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "src/util/text.hpp"
#include "tools/librt/verb.hpp"

namespace librt::tool {

ProgressBar::ProgressBar(std::size_t all) : all_(std::max<std::size_t>(all, 1)), visible_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  if (visible_) talk("\r\x1b[K");
}

void ProgressBar::show(std::size_t done, const std::string& doing) {
  if (!visible_) return;
  constexpr std::size_t kWidth = 30, kTextWidth = 60;
  const std::size_t full = std::min(done, all_) * kWidth / all_;
  talk(fmt::format("\r[{:#<{}}{:.<{}}] {}/{} {}\x1b[K", "", full, "", kWidth - full, done, all_,
                   util::shown(doing, kTextWidth)));
}

}  // namespace librt::tool
