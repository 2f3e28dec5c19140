#include <librt/error.hpp>
#include <librt/spec.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/api/spec_text.hpp"
#include "src/util/text.hpp"

namespace librt {
namespace {

constexpr std::array kGqaHeadDims = {64, 80, 96, 128, 192, 256};
constexpr int kMaxGroup = 16;
constexpr int kMaxMlaHeads = 128;
constexpr int kMaxPageSize = 65536;
constexpr int kMaxHeads = 65535;  // of a grid's second dimension

[[noreturn]] void refuse(std::string_view kernel, std::string_view field, int value, std::string_view allowed) {
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{}: {}={} is not supported; allowed: {}", kernel, field, value, allowed));
}

void require_range(std::string_view kernel, std::string_view field, int value, int low, int high) {
  if (value < low || value > high) refuse(kernel, field, value, fmt::format("{}..{}", low, high));
}

void require_dtype(std::string_view kernel, std::string_view field, DType dtype) {
  if (dtype == DType::bf16 || dtype == DType::f16) return;
  refuse(kernel, field, static_cast<int>(dtype), "DType::bf16, DType::f16");
}

void require_same_dtype(std::string_view kernel, DType dtype, const std::optional<DType>& kv_dtype) {
  require_dtype(kernel, "dtype", dtype);
  require_dtype(kernel, "kv_dtype", kv_dtype.value_or(dtype));
  if (kv_dtype && *kv_dtype != dtype) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: kv_dtype={} is not supported with dtype={}; allowed: {}", kernel, to_string(*kv_dtype),
                            to_string(dtype), to_string(dtype)));
  }
}

/// Values of a member that a spec may have, in words.
std::string allowed(std::string_view kernel, std::string_view member) {
  if (member == "page_size") return fmt::format("1..{}", kMaxPageSize);
  if (member == "num_heads") return fmt::format("1..{}", kMaxMlaHeads);
  if (member == "head_dim") return fmt::format("{}", fmt::join(kGqaHeadDims, ", "));
  if (member == "head_dim_ckv") return "512";
  if (member == "head_dim_kpe") return "64";
  return fmt::format("1..{}", kernel == api::kGqaKernel ? kMaxHeads : kMaxMlaHeads);
}

/// The key=value pairs of one spec.
class Fields {
 public:
  Fields(std::string_view kernel, std::map<std::string, std::string, std::less<>> values)
      : kernel_(kernel), values_(std::move(values)) {}

  int number(std::string_view name, std::optional<int> otherwise = {}) {
    const std::optional<std::string> text = take(name, !otherwise);
    if (!text) return *otherwise;
    int value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc{} || end != text->data() + text->size()) {
      throw Error(
          ErrorCode::invalid_argument,
          fmt::format("{}: {}={} is not {}; allowed: {}", kernel_, name, util::shown(*text),
                      error == std::errc::result_out_of_range ? "supported" : "an integer", allowed(kernel_, name)));
    }
    return value;
  }

  std::optional<DType> dtype(std::string_view name, bool required) {
    const std::optional<std::string> text = take(name, required);
    if (!text) return {};
    if (*text != "bf16" && *text != "f16") {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{}: {}={} is not supported; allowed: bf16, f16", kernel_, name, util::shown(*text)));
    }
    return parse_dtype(*text);
  }

 private:
  std::optional<std::string> take(std::string_view name, bool required) {
    const auto found = values_.find(name);
    if (found != values_.end()) {
      std::string text = std::move(found->second);
      values_.erase(found);
      return text;
    }
    if (required) throw Error(ErrorCode::invalid_argument, fmt::format("{}: {} is missing", kernel_, name));
    return {};
  }

  std::string kernel_;
  std::map<std::string, std::string, std::less<>> values_;
};

Fields read_fields(const std::vector<std::string>& words) {
  std::map<std::string, std::string, std::less<>> values;
  for (std::size_t i = 1; i < words.size(); ++i) {
    api::Assignment assignment = api::split_assignment(words[0], words[i]);
    const auto [slot, fresh] = values.emplace(std::move(assignment.name), std::move(assignment.value));
    if (!fresh) throw Error(ErrorCode::invalid_argument, fmt::format("{}: {} is given twice", words[0], slot->first));
  }
  return Fields(words[0], std::move(values));
}

}  // namespace

void validate(const GqaDecodeSpec& spec) {
  constexpr std::string_view kKernel = "gqa_decode";
  require_same_dtype(kKernel, spec.dtype, spec.kv_dtype);
  require_range(kKernel, "num_kv_heads", spec.num_kv_heads, 1, kMaxHeads);
  require_range(kKernel, "num_qo_heads", spec.num_qo_heads, 1, kMaxHeads);
  if (spec.num_qo_heads % spec.num_kv_heads != 0 || spec.num_qo_heads / spec.num_kv_heads > kMaxGroup) {
    refuse(kKernel, "num_qo_heads", spec.num_qo_heads,
           fmt::format("1 to {} times num_kv_heads={}", kMaxGroup, spec.num_kv_heads));
  }
  if (std::ranges::find(kGqaHeadDims, spec.head_dim) == kGqaHeadDims.end()) {
    refuse(kKernel, "head_dim", spec.head_dim, fmt::format("{}", fmt::join(kGqaHeadDims, ", ")));
  }
  require_range(kKernel, "page_size", spec.page_size, 1, kMaxPageSize);
}

void validate(const MlaDecodeSpec& spec) {
  constexpr std::string_view kKernel = "mla_decode";
  require_same_dtype(kKernel, spec.dtype, spec.kv_dtype);
  require_range(kKernel, "num_heads", spec.num_heads, 1, kMaxMlaHeads);
  if (spec.head_dim_ckv != 512) refuse(kKernel, "head_dim_ckv", spec.head_dim_ckv, "512");
  if (spec.head_dim_kpe != 64) refuse(kKernel, "head_dim_kpe", spec.head_dim_kpe, "64");
  require_range(kKernel, "page_size", spec.page_size, 1, kMaxPageSize);
}

void validate(const Spec& spec) {
  std::visit([](const auto& one) { validate(one); }, spec);
}

std::string_view kernel_name(const Spec& spec) noexcept {
  return std::holds_alternative<GqaDecodeSpec>(spec) ? api::kGqaKernel : api::kMlaKernel;
}

std::string to_string(const GqaDecodeSpec& spec) {
  return fmt::format("gqa_decode dtype={} kv_dtype={} num_qo_heads={} num_kv_heads={} head_dim={} page_size={}",
                     to_string(spec.dtype), to_string(spec.kv_dtype.value_or(spec.dtype)), spec.num_qo_heads,
                     spec.num_kv_heads, spec.head_dim, spec.page_size);
}

std::string to_string(const MlaDecodeSpec& spec) {
  return fmt::format("mla_decode dtype={} kv_dtype={} num_heads={} head_dim_ckv={} head_dim_kpe={} page_size={}",
                     to_string(spec.dtype), to_string(spec.kv_dtype.value_or(spec.dtype)), spec.num_heads,
                     spec.head_dim_ckv, spec.head_dim_kpe, spec.page_size);
}

std::string to_string(const Spec& spec) {
  return std::visit([](const auto& one) { return to_string(one); }, spec);
}

Spec parse_spec(std::string_view text) {
  const std::vector<std::string> words = api::split_words(text);
  if (words.empty()) {
    throw Error(ErrorCode::invalid_argument,
                "the spec is empty; allowed: gqa_decode or mla_decode, then key=value ...");
  }
  if (words[0] == api::kGqaKernel) {
    Fields fields = read_fields(words);
    GqaDecodeSpec spec;
    spec.dtype = *fields.dtype("dtype", true);
    spec.kv_dtype = fields.dtype("kv_dtype", false);
    spec.num_qo_heads = fields.number("num_qo_heads");
    spec.num_kv_heads = fields.number("num_kv_heads");
    spec.head_dim = fields.number("head_dim");
    spec.page_size = fields.number("page_size");
    validate(spec);
    return spec;
  }
  static_cast<void>(api::members_of(words[0]));  // throws where the kernel is not known
  Fields fields = read_fields(words);
  MlaDecodeSpec spec;
  spec.dtype = *fields.dtype("dtype", true);
  spec.kv_dtype = fields.dtype("kv_dtype", false);
  spec.num_heads = fields.number("num_heads");
  spec.head_dim_ckv = fields.number("head_dim_ckv", 512);
  spec.head_dim_kpe = fields.number("head_dim_kpe", 64);
  spec.page_size = fields.number("page_size");
  validate(spec);
  return spec;
}

}  // namespace librt
