// Where a GPU keeps the elements of matrices: measured, written down, and compared with the figures that the virtual
// device is held against.
#include "tests/support/layout_probe.hpp"

#include <librt/librt.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstdlib>
#include <fstream>

namespace librt::test {

TEST_CASE("matrices lie in a GPU's registers as in the figures", "[gpu][layouts]") {
  const auto device = device::open_cuda_device(0);
  const MeasuredLayouts measured = probe_layouts(*device, Options::from_env().nvrtc);
  const nlohmann::json layouts = measured.json();
  // tools/gpu_check asks for the file; what it holds may be kept in tests/gpu/measured.
  if (const char* path = std::getenv("LIBRT_LAYOUTS_JSON"); path != nullptr) {
    const nlohmann::json result = {
        {"gpu", device->properties().name}, {"arch", to_string(device->properties().arch)}, {"layouts", layouts}};
    std::ofstream file(path);
    file << result.dump(1) << '\n';
    CHECK(file.flush().good());
  }
  for (const MmaForm& form : mma_forms()) {
    INFO(form.name());
    CHECK(difference(measured.products.at(form.name()), figure_of(form)) == "");
  }
  CHECK(layouts == figures_json(device->properties().arch.sm >= 90));
}

}  // namespace librt::test
