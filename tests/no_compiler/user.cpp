// A program that serves, for run.sh: fills a cache, or gets what is in one, on virtual:sm_80. All settings come from
// the environment.
#include <librt/librt.hpp>

#include <iostream>
#include <string>
#include <vector>

namespace {

librt::Spec spec_with_pages_of(int page_size) {
  return librt::GqaDecodeSpec{.num_qo_heads = 2, .num_kv_heads = 1, .head_dim = 64, .page_size = page_size};
}

std::string origin_of_get(const librt::Spec& spec) {
  try {
    librt::Runtime runtime;
    return runtime.get(spec).artifact().origin == librt::Origin::disk ? "disk" : "compiled";
  } catch (const librt::Error& error) {
    return std::string(to_string(error.code()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 2 ? argv[1] : "";
  if (what == "fill") {
    const std::vector specs{spec_with_pages_of(4)};
    const std::vector archs{librt::parse_arch("compute_80")};
    return librt::Runtime().prewarm(specs, archs).complete() ? 0 : 1;
  }
  std::cout << origin_of_get(spec_with_pages_of(what == "missing" ? 8 : 4)) << '\n';
  return 0;
}
