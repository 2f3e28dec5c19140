// The probe that tests/gpu runs on a GPU, on the virtual device: it must find there what the figures show.
#include "tests/support/layout_probe.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>

namespace librt::test {

TEST_CASE("the layout probe finds the figures' layouts on the virtual device", "[device][layouts]") {
  for (const std::string name : {"sm_80", "sm_90a"}) {
    INFO(name);
    const Arch arch = parse_arch(name);
    const auto device = device::open_virtual_device(arch, 1);
    const MeasuredLayouts measured = probe_layouts(*device, "");
    for (const MmaForm& form : mma_forms()) {
      INFO(form.name());
      CHECK(difference(measured.products.at(form.name()), figure_of(form)) == "");
    }
    CHECK(measured.json() == figures_json(arch.sm >= 90));
    CHECK(measured.moves.size() == (arch.sm >= 90 ? 12 : 6));
  }
}

TEST_CASE("layouts that were measured on GPUs are those of the figures", "[device][layouts]") {
  // Files that tools/gpu_check wrote, kept as tests/gpu/measured/<GPU>.json.
  const std::filesystem::path directory = LIBRT_SOURCE_DIR "/tests/gpu/measured";
  const nlohmann::json figures = figures_json(true);
  const auto contradiction = [&](const nlohmann::json& layouts) {
    for (const auto& [form, rows] : layouts.items())
      if (!figures.contains(form) || figures.at(form) != rows) return form;
    return std::string(layouts.contains("mma.m16n8k16.bf16") ? "" : "no mma");
  };
  if (std::filesystem::exists(directory)) {
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      INFO(entry.path());
      std::ifstream file(entry.path());
      CHECK(contradiction(nlohmann::json::parse(file).at("layouts")) == "");
    }
  }
  nlohmann::json altered = figures;
  CHECK(contradiction(altered) == "");
  altered["ldmatrix.x4.trans"][3] = altered["ldmatrix.x4.trans"][2];
  CHECK(contradiction(altered) == "ldmatrix.x4.trans");
}

}  // namespace librt::test
