#include <librt/error.hpp>
#include <librt/types.hpp>

#include <fmt/format.h>

#include <charconv>

#include "src/util/text.hpp"

namespace librt {

std::string_view to_string(DType dtype) noexcept {
  switch (dtype) {
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "f16";
  }
  return "unknown";
}

DType parse_dtype(std::string_view text) {
  if (text == "bf16") return DType::bf16;
  if (text == "f16") return DType::f16;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("dtype {} is not known; allowed: bf16, f16", util::in_quotes(text)));
}

std::size_t size_in_bytes(DType /*dtype*/) noexcept {
  return 2;
}

std::string to_string(const Arch& arch) {
  std::string text = fmt::format("{}_{}", arch.ptx_only ? "compute" : "sm", arch.sm);
  if (arch.suffix != 0) text += arch.suffix;
  return text;
}

Arch parse_arch(std::string_view text) {
  Arch arch;
  std::string_view rest = text;
  if (rest.starts_with("sm_")) {
    rest.remove_prefix(3);
  } else if (rest.starts_with("compute_")) {
    rest.remove_prefix(8);
    arch.ptx_only = true;
  } else {
    rest = {};
  }
  if (!rest.empty() && (rest.back() == 'a' || rest.back() == 'f')) {
    arch.suffix = rest.back();
    rest.remove_suffix(1);
  }
  arch.sm = util::number_in<int>(rest).value_or(0);
  if (arch.sm < 10 || arch.sm > 999 || rest.front() == '0') {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("arch {} is not an architecture; allowed: sm_XX or compute_XX with an optional a or f, "
                            "e.g. sm_90a",
                            util::in_quotes(text)));
  }
  return arch;
}

}  // namespace librt
