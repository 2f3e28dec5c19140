#include "src/util/safetensors.hpp"

#include <librt/error.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <tuple>
#include <utility>

#include "src/util/files.hpp"
#include "src/util/text.hpp"

namespace librt::util {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian and so is every NVIDIA host");

constexpr std::size_t kLengthBytes = SafetensorsHeader::kLengthBytes;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 40;
constexpr std::size_t kDataAlignment = 64;

}  // namespace

Safetensors::Safetensors(std::vector<std::byte> file, std::size_t data_begins, SafetensorsHeader header)
    : file_(std::move(file)), metadata_(std::move(header.metadata)) {
  const std::span<const std::byte> data = std::span<const std::byte>(file_).subspan(data_begins);
  for (auto& [name, tensor] : header.tensors) {
    const auto begin = static_cast<std::size_t>(tensor.offsets[0]), end = static_cast<std::size_t>(tensor.offsets[1]);
    tensors_.emplace(name, Tensor{std::move(tensor.dtype), std::move(tensor.shape), data.subspan(begin, end - begin)});
  }
}

Safetensors Safetensors::parse(std::vector<std::byte> file) {
  const std::size_t data_begins = kLengthBytes + SafetensorsHeader::length(file, file.size());
  const std::string_view all(reinterpret_cast<const char*>(file.data()), file.size());
  SafetensorsHeader header =
      SafetensorsHeader::parse(all.substr(kLengthBytes, data_begins - kLengthBytes), file.size() - data_begins);
  return {std::move(file), data_begins, std::move(header)};
}

Safetensors Safetensors::load(const std::string& path) {
  InputFile file(path);
  const auto size = static_cast<std::size_t>(file.size());
  const auto prefixed = [&](const std::string& what) { return fmt::format("{}: {}", shown(path, 1024), what); };
  if (size > kMaxFileBytes) {
    throw Error(ErrorCode::io, prefixed(fmt::format("it has {} bytes; at most {} are allowed", size, kMaxFileBytes)));
  }
  try {
    // What follows is read and held in memory only once what precedes it is known to be sound.
    std::vector<std::byte> beginning(std::min<std::size_t>(size, 64));
    file.read(beginning);
    const std::size_t data_begins = kLengthBytes + SafetensorsHeader::length(beginning, size);
    const std::size_t had = std::min(beginning.size(), data_begins);
    std::string text(data_begins - kLengthBytes, '\0');
    std::memcpy(text.data(), beginning.data() + kLengthBytes, had - kLengthBytes);
    file.read(std::as_writable_bytes(std::span(text)).subspan(had - kLengthBytes));
    SafetensorsHeader header = SafetensorsHeader::parse(text, size - data_begins);

    std::vector<std::byte> contents(size);
    std::copy(beginning.begin(), beginning.end(), contents.begin());
    std::memcpy(contents.data() + kLengthBytes, text.data(), text.size());
    file.read(std::span(contents).subspan(std::max(data_begins, beginning.size())));
    return {std::move(contents), data_begins, std::move(header)};
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::io, prefixed(fmt::format("there is not enough memory for its {} bytes", size)));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_argument) throw;  // names the file already
    throw Error(error.code(), prefixed(error.what()));
  }
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
    if (name == SafetensorsHeader::kMetadataName) fail_tensor(name, "the name is reserved");
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
  if (!metadata.empty()) header[std::string(SafetensorsHeader::kMetadataName)] = metadata;
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
