#include "src/api/line_info.hpp"

#include <librt/librt.hpp>

#include <catch2/catch.hpp>

namespace librt::api {
namespace {

TEST_CASE("Line data is taken out of PTX, and nothing else") {
  const std::string plain = ".version 9.0\n.visible .entry k()\n{\n\tret;\n\n}\n";
  const std::string with_lines =
      ".version 9.0\n.visible .entry k()\n{\n\t.loc\t2 35 5\n\tret;\n\n}\n\t.file\t1 \"a.cu\"\n\t.section\t.debug_str\n"
      "\t{\n.b8 1,2\n\t}\n";
  CHECK(without_line_info(with_lines) == without_line_info(plain));
  CHECK(without_line_info(plain) == ".version 9.0\n.visible .entry k()\n{\n\tret;\n\n}");
  CHECK(without_line_info(plain) != without_line_info(".version 9.0\n.visible .entry k()\n{\n\texit;\n\n}\n"));
  CHECK(without_line_info("") == "");
}

}  // namespace
}  // namespace librt::api
