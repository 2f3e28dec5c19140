#include "src/util/safetensors_header.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "src/util/text.hpp"

namespace librt::util {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // what the reference reader allows
// Far above any model's, so that a header of nothing else takes megabytes of memory, not gigabytes.
constexpr std::size_t kMaxTensors = 262'144;
constexpr std::size_t kMaxMetadata = 65'536;
constexpr int kMaxDepth = 120;  // the reference reader allows 127 brackets in all

constexpr std::array<std::pair<std::string_view, unsigned>, 22> kElementBits{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 8},      {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
    {"F64", 64},    {"I64", 64},    {"U64", 64},        {"C64", 64},
}};

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

/// What is often found in the place of a safetensors file, by its first bytes.
struct Lookalike {
  std::string_view begins;
  std::string_view is;
};

using namespace std::string_view_literals;
constexpr std::array kLookalikes = {
    Lookalike{"version https://git-lfs"sv, "a git-lfs pointer, which stands for the file; `git lfs pull` fetches it"sv},
    Lookalike{"PK\x03\x04"sv,
              "a zip archive, such as torch.save writes; safetensors.torch.save_file writes this format"sv},
    Lookalike{"\x80\x02"sv, "a pickle; safetensors.torch.save_file writes this format"sv},
    Lookalike{"\x80\x03"sv, "a pickle; safetensors.torch.save_file writes this format"sv},
    Lookalike{"\x80\x04"sv, "a pickle; safetensors.torch.save_file writes this format"sv},
    Lookalike{"\x80\x05"sv, "a pickle; safetensors.torch.save_file writes this format"sv},
    Lookalike{"\x89HDF\r\n\x1a\n"sv, "an HDF5 file"sv},
    Lookalike{"GGUF"sv, "a GGUF file"sv},
    Lookalike{"\x93NUMPY"sv, "a NumPy array (.npy); safetensors.numpy.save_file writes this format"sv},
    Lookalike{"\x1f\x8b"sv, "compressed by gzip"sv},
    Lookalike{"\x28\xb5\x2f\xfd"sv, "compressed by zstd"sv},
    Lookalike{"{"sv, "JSON text, perhaps the index of several files"sv},
    Lookalike{"<"sv, "HTML or XML, perhaps what a server said instead of sending the file"sv}};

[[noreturn]] void fail_format(std::span<const std::byte> beginning, const std::string& why) {
  const std::string_view text(reinterpret_cast<const char*>(beginning.data()), beginning.size());
  for (const Lookalike& each : kLookalikes) {
    if (text.starts_with(each.begins)) fail(fmt::format("not a safetensors file but {} ({})", each.is, why));
  }
  fail(fmt::format("not a safetensors file: {}", why));
}

/// Builds the header from parser events, so that a nested bomb is refused at its first surplus bracket instead of
/// being built in memory, and duplicate names are seen at all.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;

  bool null() override {
    if (state_ == State::top && name_ == SafetensorsHeader::kMetadataName) return true;  // none
    return passed_over() || reject("null");
  }
  bool boolean(bool) override { return passed_over() || reject("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override {
    return passed_over() || reject("the number " + shown(text));
  }
  bool binary(binary_t&) override { return passed_over() || reject("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (passed_over()) return true;
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return reject(fmt::format("the number {}, which is too large", value));
    }
    return integer(static_cast<std::int64_t>(value));
  }
  bool number_integer(number_integer_t value) override { return passed_over() || integer(value); }

  bool string(string_t& value) override {
    if (passed_over()) return true;
    if (state_ == State::metadata) {
      if (header.metadata.size() == kMaxMetadata) fail(fmt::format("there are more than {} metadata", kMaxMetadata));
      if (!header.metadata.emplace(key_, std::move(value)).second) {
        fail(fmt::format("metadata {}: appears twice", in_quotes(key_)));
      }
      return true;
    }
    if (state_ == State::tensor && key_ == "dtype") {
      if (element_bits(value) == 0)
        fail_tensor(name_, fmt::format("dtype is {}, which is not known", in_quotes(value)));
      current_.dtype = std::move(value);
      return true;
    }
    return reject("a string");
  }

  bool start_object(std::size_t) override {
    if (passed_over(1)) return true;
    switch (state_) {
      case State::start:
        state_ = State::top;
        return true;
      case State::top:
        state_ = name_ == SafetensorsHeader::kMetadataName ? State::metadata : State::tensor;
        return true;
      default:
        return reject("an object");
    }
  }

  bool end_object() override {
    if (passed_over(-1)) return true;
    if (state_ == State::tensor) {
      for (const char* const field : {"dtype", "shape", "data_offsets"}) {
        if (std::find(fields_seen_.begin(), fields_seen_.end(), field) == fields_seen_.end()) {
          fail_tensor(name_, fmt::format("{} is missing", field));
        }
      }
      if (header.tensors.size() == kMaxTensors) fail(fmt::format("there are more than {} tensors", kMaxTensors));
      header.tensors.emplace(name_, std::exchange(current_, {}));
      fields_seen_.clear();
    }
    state_ = state_ == State::top ? State::done : State::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (passed_over(1)) return true;
    if (state_ == State::tensor && (key_ == "shape" || key_ == "data_offsets")) {
      state_ = State::array;
      return true;
    }
    return reject("an array");
  }

  bool end_array() override {
    if (passed_over(-1)) return true;
    if (key_ == "data_offsets" && current_.offsets.size() != 2) {
      fail_tensor(name_, fmt::format("data_offsets has {} numbers, not 2", current_.offsets.size()));
    }
    state_ = State::tensor;
    return true;
  }

  bool key(string_t& value) override {
    if (in_unknown_field_) return true;
    if (state_ == State::top) {
      const bool is_metadata = value == SafetensorsHeader::kMetadataName;
      if (header.tensors.contains(value) || (is_metadata && metadata_seen_)) {
        fail_tensor(value, "appears twice in the header");
      }
      metadata_seen_ = metadata_seen_ || is_metadata;
      name_ = std::move(value);
      return true;
    }
    if (state_ == State::tensor) {
      if (value != "dtype" && value != "shape" && value != "data_offsets") return in_unknown_field_ = true;
      if (std::find(fields_seen_.begin(), fields_seen_.end(), value) != fields_seen_.end()) {
        fail_tensor(name_, fmt::format("{} appears twice", value));
      }
      fields_seen_.push_back(value);
    }
    key_ = std::move(value);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    fail(fmt::format("the header is not valid JSON at byte {}: {}", position, shown(error.what(), 160)));
  }

 private:
  enum class State { start, top, metadata, tensor, array, done };

  /// Whether an event belongs to the value of a field that is not known; `opens` and closes brackets in it.
  bool passed_over(int opens = 0) {
    if (!in_unknown_field_) return false;
    depth_ += opens;
    if (depth_ > kMaxDepth) fail_tensor(name_, fmt::format("has a field nested more than {} levels deep", kMaxDepth));
    in_unknown_field_ = depth_ > 0;
    return true;
  }

  bool integer(std::int64_t value) {
    if (state_ != State::array) return reject(fmt::format("the number {}", value));
    if (value < 0) fail_tensor(name_, fmt::format("{} holds {}, which is negative", key_, value));
    auto& list = key_ == "shape" ? current_.shape : current_.offsets;
    constexpr std::size_t kMaxNumbers = 64;
    if (list.size() == kMaxNumbers) fail_tensor(name_, fmt::format("{} has more than {} numbers", key_, kMaxNumbers));
    list.push_back(value);
    return true;
  }

  bool reject(const std::string& found) {
    switch (state_) {
      case State::metadata:
        fail(fmt::format("metadata {}: must be a string, is {}", in_quotes(key_), found));
      case State::tensor:
      case State::array:
        fail_tensor(name_, fmt::format("{} must not be or hold {}", key_, found));
      case State::top:
        fail_tensor(name_, fmt::format("must be an object, is {}", found));
      default:
        fail(fmt::format("the header must be a JSON object, is {}", found));
    }
  }

  State state_ = State::start;
  std::string name_;
  std::string key_;
  std::vector<std::string> fields_seen_;
  TensorHeader current_;
  bool metadata_seen_ = false;
  bool in_unknown_field_ = false;
  int depth_ = 0;  // of brackets in an unknown field
};

/// Checks that the tensors fill the data, in any order.
void check_extents(const SafetensorsHeader& header, std::uint64_t data_bytes) {
  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string_view>> extents;
  for (const auto& [name, tensor] : header.tensors) {
    const auto begin = static_cast<std::uint64_t>(tensor.offsets[0]);
    const auto end = static_cast<std::uint64_t>(tensor.offsets[1]);
    if (end < begin) fail_tensor(name, fmt::format("data_offsets are reversed: {} to {}", begin, end));
    if (end > data_bytes) {
      fail_tensor(name, fmt::format("data_offsets end at {}, but the file holds {} bytes of data", end, data_bytes));
    }
    const auto expected = byte_count(tensor.shape, element_bits(tensor.dtype));
    if (!expected) {
      fail_tensor(name, fmt::format("shape [{}] of {} is not a whole number of bytes that fits 63 bits",
                                    fmt::join(tensor.shape, ", "), tensor.dtype));
    }
    if (*expected != end - begin) {
      fail_tensor(name, fmt::format("shape [{}] of {} needs {} bytes, but data_offsets {} to {} hold {}",
                                    fmt::join(tensor.shape, ", "), tensor.dtype, *expected, begin, end, end - begin));
    }
    extents.emplace_back(begin, end, name);
  }

  std::sort(extents.begin(), extents.end());
  std::uint64_t covered = 0;
  std::string_view previous;
  for (const auto& [begin, end, name] : extents) {
    if (begin < covered) {
      fail_tensor(name, fmt::format("data_offsets {} to {} overlap tensor {}, which ends at {}", begin, end,
                                    in_quotes(previous), covered));
    }
    if (begin > covered) {
      fail_tensor(name, fmt::format("data_offsets begin at {}, which leaves the {} bytes from {} to no tensor", begin,
                                    begin - covered, covered));
    }
    covered = end;
    previous = name;
  }
  if (covered != data_bytes) {
    fail(
        fmt::format("{} bytes after the last tensor's end, at {}, belong to no tensor", data_bytes - covered, covered));
  }
}

}  // namespace

void fail_tensor(std::string_view name, const std::string& what) {
  fail(fmt::format("tensor {}: {}", in_quotes(name), what));
}

unsigned element_bits(std::string_view dtype) noexcept {
  const auto* const found =
      std::find_if(kElementBits.begin(), kElementBits.end(), [&](const auto& entry) { return entry.first == dtype; });
  return found == kElementBits.end() ? 0 : found->second;
}

std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape, unsigned bits) {
  std::int64_t product = bits;
  bool empty = false;
  for (const std::int64_t extent : shape) {
    empty = empty || extent == 0;
    if (extent != 0 && __builtin_mul_overflow(product, extent, &product)) return std::nullopt;
  }
  if (empty) return 0;
  if (product % 8 != 0) return std::nullopt;
  return static_cast<std::uint64_t>(product) / 8;
}

std::size_t SafetensorsHeader::length(std::span<const std::byte> beginning, std::uint64_t file_bytes) {
  if (file_bytes < kLengthBytes) {
    fail_format(beginning,
                fmt::format("the file has {} bytes, too few for the 8 bytes of the header's length", file_bytes));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, beginning.data(), kLengthBytes);
  if (length > kMaxHeaderBytes) {
    fail_format(beginning, fmt::format("the header's length is {}, above the allowed {}", length, kMaxHeaderBytes));
  }
  if (length > file_bytes - kLengthBytes) {
    fail_format(beginning, fmt::format("the header's length is {}, but only {} bytes follow it", length,
                                       file_bytes - kLengthBytes));
  }
  return static_cast<std::size_t>(length);
}

SafetensorsHeader SafetensorsHeader::parse(std::string_view text, std::uint64_t data_bytes) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text[begin] != '{') {
    fail("not a safetensors file: the header does not begin with '{'");
  }
  // The parser would take it for the end, and leave unread what follows.
  if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail(fmt::format("the header is not valid JSON at byte {}: there is a NUL", nul));
  }
  HeaderReader reader;
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  check_extents(reader.header, data_bytes);
  return std::move(reader.header);
}

}  // namespace librt::util
