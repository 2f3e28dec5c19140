#include "src/util/safetensors.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>

#include "src/util/files.hpp"

namespace librt::util {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and so is every NVIDIA host");

constexpr std::size_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // what the reference implementation allows
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 40;
constexpr std::size_t kDataAlignment = 64;
constexpr std::string_view kMetadataName = "__metadata__";

constexpr std::array<std::pair<std::string_view, unsigned>, 22> kElementBits{{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6},     {"F6_E3M2", 6},     {"U8", 8},      {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E5M2FNUZ", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},       {"I32", 32},        {"U32", 32},    {"F32", 32},
    {"F64", 64},    {"I64", 64},    {"U64", 64},        {"C64", 64},
}};

unsigned element_bits(std::string_view dtype) noexcept {
  const auto* const found =
      std::find_if(kElementBits.begin(), kElementBits.end(), [&](const auto& entry) { return entry.first == dtype; });
  return found == kElementBits.end() ? 0 : found->second;
}

/// A name from a hostile file, fit for a message: escaped, and cut where it is long.
std::string in_quotes(std::string_view name) {
  constexpr std::size_t kLongest = 80;
  const bool cut = name.size() > kLongest;
  const std::string shown = nlohmann::json(std::string(name.substr(0, kLongest)))
                                .dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return cut ? shown.substr(0, shown.size() - 1) + "...\"" : shown;
}

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::invalid_argument, what);
}

[[noreturn]] void fail_tensor(std::string_view name, const std::string& what) {
  fail(fmt::format("tensor {}: {}", in_quotes(name), what));
}

/// Bytes of a dense tensor; none if the count does not fit 63 bits. Zero-sized dimensions do not excuse huge others,
/// since users compute strides from the trailing dimensions alone.
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

struct TensorHeader {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> offsets;
};

/// Builds the header from parser events, so that a nested bomb is refused at its first surplus bracket instead of
/// being built in memory, and duplicate names are seen at all.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::map<std::string, TensorHeader> tensors;
  std::map<std::string, std::string> metadata;

  bool null() override { return reject("null"); }
  bool boolean(bool) override { return reject("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override { return reject("the number " + shorten(text)); }
  bool binary(binary_t&) override { return reject("binary data"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return reject(fmt::format("the number {}, which is too large", value));
    }
    return integer(static_cast<std::int64_t>(value));
  }
  bool number_integer(number_integer_t value) override { return integer(value); }

  bool string(string_t& value) override {
    if (state_ == State::metadata) {
      if (!metadata.emplace(key_, value).second) fail(fmt::format("metadata {}: appears twice", in_quotes(key_)));
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
    switch (state_) {
      case State::start:
        state_ = State::top;
        return true;
      case State::top:
        state_ = name_ == kMetadataName ? State::metadata : State::tensor;
        return true;
      default:
        return reject("an object");
    }
  }

  bool end_object() override {
    if (state_ == State::tensor) {
      for (const char* const field : {"dtype", "shape", "data_offsets"}) {
        if (std::find(fields_seen_.begin(), fields_seen_.end(), field) == fields_seen_.end()) {
          fail_tensor(name_, fmt::format("{} is missing", field));
        }
      }
      tensors.emplace(name_, std::exchange(current_, {}));
      fields_seen_.clear();
    }
    state_ = state_ == State::top ? State::done : State::top;
    return true;
  }

  bool start_array(std::size_t) override {
    if (state_ == State::tensor && (key_ == "shape" || key_ == "data_offsets")) {
      state_ = State::array;
      return true;
    }
    return reject("an array");
  }

  bool end_array() override {
    if (key_ == "data_offsets" && current_.offsets.size() != 2) {
      fail_tensor(name_, fmt::format("data_offsets has {} numbers, not 2", current_.offsets.size()));
    }
    state_ = State::tensor;
    return true;
  }

  bool key(string_t& value) override {
    if (state_ == State::top) {
      if (tensors.contains(value) || (value == kMetadataName && metadata_seen_)) {
        fail_tensor(value, "appears twice in the header");
      }
      metadata_seen_ = metadata_seen_ || value == kMetadataName;
      name_ = std::move(value);
      return true;
    }
    if (state_ == State::tensor) {
      if (value != "dtype" && value != "shape" && value != "data_offsets") {
        fail_tensor(name_,
                    fmt::format("has the field {}; allowed are dtype, shape and data_offsets", in_quotes(value)));
      }
      if (std::find(fields_seen_.begin(), fields_seen_.end(), value) != fields_seen_.end()) {
        fail_tensor(name_, fmt::format("{} appears twice", value));
      }
      fields_seen_.push_back(value);
    }
    key_ = std::move(value);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    fail(fmt::format("the header is not valid JSON at byte {}: {}", position, shorten(error.what())));
  }

 private:
  enum class State { start, top, metadata, tensor, array, done };

  static std::string shorten(const std::string& text) { return text.size() > 160 ? text.substr(0, 160) + "..." : text; }

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
};

}  // namespace

Safetensors Safetensors::parse(std::vector<std::byte> file) {
  if (file.size() < kLengthBytes) {
    fail(fmt::format("the file has {} bytes, too few for the 8 bytes of the header's length", file.size()));
  }
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    fail(fmt::format("the header's length is {}, above the allowed {}", header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > file.size() - kLengthBytes) {
    fail(fmt::format("the header's length is {}, but only {} bytes follow it", header_bytes,
                     file.size() - kLengthBytes));
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + kLengthBytes, header_bytes);
  if (text.empty() || text.front() != '{') fail("the header does not begin with '{'");
  HeaderReader header;
  nlohmann::json::sax_parse(text.begin(), text.end(), &header);

  Safetensors result;
  result.file_ = std::move(file);
  result.metadata_ = std::move(header.metadata);
  const std::span<const std::byte> data = std::span<const std::byte>(result.file_).subspan(kLengthBytes + header_bytes);

  std::vector<std::tuple<std::uint64_t, std::uint64_t, std::string_view>> extents;
  for (auto& [name, tensor] : header.tensors) {
    const auto begin = static_cast<std::uint64_t>(tensor.offsets[0]);
    const auto end = static_cast<std::uint64_t>(tensor.offsets[1]);
    if (end < begin) fail_tensor(name, fmt::format("data_offsets are reversed: {} to {}", begin, end));
    if (end > data.size()) {
      fail_tensor(name, fmt::format("data_offsets end at {}, but the file holds {} bytes of data", end, data.size()));
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
    const auto [position, inserted] = result.tensors_.emplace(
        name, Tensor{std::move(tensor.dtype), std::move(tensor.shape), data.subspan(begin, end - begin)});
    extents.emplace_back(begin, end, position->first);
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
  if (covered != data.size()) {
    fail(fmt::format("{} bytes after the last tensor's end, at {}, belong to no tensor", data.size() - covered,
                     covered));
  }
  return result;
}

Safetensors Safetensors::load(const std::string& path) {
  return parse(read_file(path, kMaxFileBytes));
}

const Tensor* Safetensors::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const auto& item) { return item.first == name; });
  return found == tensors_.end() ? nullptr : &found->second;
}

std::size_t safetensors_element_bytes(std::string_view dtype) noexcept {
  const unsigned bits = element_bits(dtype);
  return bits % 8 == 0 ? bits / 8 : 0;
}

std::vector<std::byte> write_safetensors(const std::map<std::string, Tensor>& tensors,
                                         const std::map<std::string, std::string>& metadata) {
  // The format allows no gaps, so alignment comes from the order: sizes that keep it first.
  std::vector<std::tuple<bool, std::size_t, const std::string*>> order;
  for (const auto& [name, tensor] : tensors) {
    const unsigned bits = element_bits(tensor.dtype);
    if (name == kMetadataName) fail_tensor(name, "the name is reserved");
    if (bits == 0) fail_tensor(name, fmt::format("dtype is {}, which is not known", in_quotes(tensor.dtype)));
    if (std::any_of(tensor.shape.begin(), tensor.shape.end(), [](std::int64_t extent) { return extent < 0; })) {
      fail_tensor(name, fmt::format("shape [{}] is negative", fmt::join(tensor.shape, ", ")));
    }
    const auto expected = byte_count(tensor.shape, bits);
    if (!expected || *expected != tensor.bytes.size()) {
      fail_tensor(name, fmt::format("shape [{}] of {} does not describe {} bytes", fmt::join(tensor.shape, ", "),
                                    tensor.dtype, tensor.bytes.size()));
    }
    order.emplace_back(tensor.bytes.size() % kDataAlignment != 0, ~std::size_t{bits}, &name);
  }
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::tie(std::get<0>(a), std::get<1>(a), *std::get<2>(a)) <
           std::tie(std::get<0>(b), std::get<1>(b), *std::get<2>(b));
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataName)] = metadata;
  std::size_t offset = 0;
  for (const auto& [unaligned, size_rank, name] : order) {
    const Tensor& tensor = tensors.at(*name);
    header[*name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump();
  text.append((kDataAlignment - (kLengthBytes + text.size()) % kDataAlignment) % kDataAlignment, ' ');

  std::vector<std::byte> file(kLengthBytes + text.size() + offset);
  const std::uint64_t header_bytes = text.size();
  std::memcpy(file.data(), &header_bytes, kLengthBytes);
  std::memcpy(file.data() + kLengthBytes, text.data(), text.size());
  std::size_t position = kLengthBytes + text.size();
  for (const auto& [unaligned, size_rank, name] : order) {
    const auto bytes = tensors.at(*name).bytes;
    std::copy(bytes.begin(), bytes.end(), file.begin() + static_cast<std::ptrdiff_t>(position));
    position += bytes.size();
  }
  return file;
}

}  // namespace librt::util
