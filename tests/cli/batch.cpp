#include "tests/cli/batch.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "src/util/files.hpp"
#include "src/util/safetensors.hpp"

namespace librt::test {
namespace {

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::size_t product(std::initializer_list<int> factors) {
  return std::accumulate(factors.begin(), factors.end(), std::size_t{1},
                         [](std::size_t a, int b) { return a * static_cast<std::size_t>(b); });
}

}  // namespace

double to_double(DType dtype, std::uint16_t bits) {
  if (dtype == DType::bf16) return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
  return static_cast<double>(std::bit_cast<_Float16>(bits));
}

void FileContents::set_integers(const std::string& name, const std::vector<std::int32_t>& values) {
  tensors[name] = {"I32", {static_cast<std::int64_t>(values.size())}, bytes_of(values)};
}

void FileContents::write(const std::string& path) const {
  std::map<std::string, util::Tensor> views;
  for (const auto& [name, tensor] : tensors) views[name] = {tensor.dtype, tensor.shape, tensor.bytes};
  util::write_file(path, util::write_safetensors(views, metadata));
}

BatchShape gqa_shape() {
  return {};
}

BatchShape mla_shape() {
  BatchShape shape;
  shape.mla = true;
  shape.heads = 16;
  shape.kv_heads = 1;
  shape.key_dim = 512;
  shape.second_dim = 64;
  return shape;
}

Batch::Batch(const BatchShape& batch_shape, const std::vector<int>& request_lengths, unsigned seed)
    : shape(batch_shape), lengths(request_lengths), random_(seed) {
  std::vector<int> free_pages(static_cast<std::size_t>(shape.num_pages));
  std::iota(free_pages.begin(), free_pages.end(), 0);
  std::shuffle(free_pages.begin(), free_pages.end(), random_);
  kv_indptr.push_back(0);
  for (const int length : lengths) {
    const int pages = (length + shape.page_size - 1) / shape.page_size;
    for (int i = 0; i < pages; ++i) {
      kv_indices.push_back(free_pages.back());
      free_pages.pop_back();
    }
    kv_indptr.push_back(static_cast<std::int32_t>(kv_indices.size()));
    kv_last_page_len.push_back(length - (pages - 1) * shape.page_size);
  }
  const auto fill = [&](std::vector<std::uint16_t>& values, std::size_t count) {
    values.resize(count);
    for (std::uint16_t& value : values) value = random_number();
  };
  for (int part = 0; part < 2; ++part) {
    const int query_dim = part == 0 ? shape.key_dim : shape.second_dim;
    fill(queries_[part], product({static_cast<int>(lengths.size()), shape.heads, query_dim}));
    fill(pages_[part], product({shape.num_pages, shape.page_size, shape.kv_heads, page_dim(part)}));
  }
}

std::uint16_t Batch::random_number() {
  const float value = std::uniform_real_distribution<float>(-2, 2)(random_);
  if (shape.dtype == DType::f16) return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
  return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16);
}

std::size_t Batch::page_index(int part, int page, int slot, int head, int dim) const {
  return product({page, shape.page_size, shape.kv_heads, page_dim(part)}) +
         product({slot, shape.kv_heads, page_dim(part)}) + product({head, page_dim(part)}) +
         static_cast<std::size_t>(dim);
}

double Batch::page_value(int part, int page, int slot, int head, int dim) const {
  return to_double(shape.dtype, pages_[part].at(page_index(part, page, slot, head, dim)));
}

void Batch::fill_padding(const std::function<std::uint16_t()>& bits) {
  std::vector<int> valid_slots(static_cast<std::size_t>(shape.num_pages), 0);
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    for (int position = 0; position < lengths[b]; ++position) {
      const auto entry = static_cast<std::size_t>(kv_indptr[b] + position / shape.page_size);
      int& valid = valid_slots.at(static_cast<std::size_t>(kv_indices.at(entry)));
      valid = std::max(valid, position % shape.page_size + 1);
    }
  }
  for (int part = 0; part < 2; ++part) {
    for (int page = 0; page < shape.num_pages; ++page) {
      for (int slot = valid_slots[static_cast<std::size_t>(page)]; slot < shape.page_size; ++slot) {
        for (int head = 0; head < shape.kv_heads; ++head) {
          for (int dim = 0; dim < page_dim(part); ++dim) pages_[part][page_index(part, page, slot, head, dim)] = bits();
        }
      }
    }
  }
}

FileContents Batch::file() const {
  FileContents file;
  file.metadata = {{"kernel", shape.mla ? "mla_decode" : "gqa_decode"}, {"sm_scale", std::to_string(sm_scale)}};
  if (shape.hnd) file.metadata["kv_layout"] = "HND";
  const std::string dtype = shape.dtype == DType::bf16 ? "BF16" : "F16";
  const auto batch = static_cast<std::int64_t>(lengths.size());
  for (int part = 0; part < 2; ++part) {
    const std::int64_t dim = page_dim(part);
    if (shape.mla) {
      file.tensors[part == 0 ? "q_nope" : "q_pe"] = {dtype, {batch, shape.heads, dim}, bytes_of(queries_[part])};
      file.tensors[part == 0 ? "ckv_pages" : "kpe_pages"] = {
          dtype, {shape.num_pages, shape.page_size, dim}, bytes_of(pages_[part])};
      continue;
    }
    std::vector<std::uint16_t> pages = pages_[part];
    if (shape.hnd) {
      pages.clear();
      for (int page = 0; page < shape.num_pages; ++page) {
        for (int head = 0; head < shape.kv_heads; ++head) {
          for (int slot = 0; slot < shape.page_size; ++slot) {
            for (int d = 0; d < shape.key_dim; ++d)
              pages.push_back(pages_[part][page_index(part, page, slot, head, d)]);
          }
        }
      }
    }
    const int second = shape.hnd ? shape.kv_heads : shape.page_size;
    const int third = shape.hnd ? shape.page_size : shape.kv_heads;
    file.tensors[part == 0 ? "k_pages" : "v_pages"] = {dtype, {shape.num_pages, second, third, dim}, bytes_of(pages)};
  }
  if (!shape.mla) file.tensors["q"] = {dtype, {batch, shape.heads, shape.key_dim}, bytes_of(queries_[0])};
  file.set_integers("kv_indptr", kv_indptr);
  file.set_integers("kv_indices", kv_indices);
  file.set_integers("kv_last_page_len", kv_last_page_len);
  return file;
}

Batch::Answer Batch::reference() const {
  Answer answer;
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    const auto page_of = [&](int position) {
      return kv_indices.at(static_cast<std::size_t>(kv_indptr[b] + position / shape.page_size));
    };
    for (int head = 0; head < shape.heads; ++head) {
      const int kv_head = head / (shape.heads / shape.kv_heads);
      std::vector<double> logits;
      for (int position = 0; position < lengths[b]; ++position) {
        double dot = 0;
        for (int part = 0; part < (shape.mla ? 2 : 1); ++part) {
          const std::size_t row = (b * static_cast<std::size_t>(shape.heads) + static_cast<std::size_t>(head)) *
                                  static_cast<std::size_t>(page_dim(part));
          for (int dim = 0; dim < page_dim(part); ++dim) {
            dot += to_double(shape.dtype, queries_[part].at(row + static_cast<std::size_t>(dim))) *
                   page_value(part, page_of(position), position % shape.page_size, kv_head, dim);
          }
        }
        logits.push_back(dot * static_cast<double>(sm_scale));
      }
      double sum = 0;
      std::vector<double> out(static_cast<std::size_t>(shape.key_dim), 0.0);
      const double largest = logits.empty() ? 0 : *std::max_element(logits.begin(), logits.end());
      for (int position = 0; position < lengths[b]; ++position) {
        const double weight = std::exp(logits[static_cast<std::size_t>(position)] - largest);
        sum += weight;
        for (int dim = 0; dim < shape.key_dim; ++dim) {
          out[static_cast<std::size_t>(dim)] +=
              weight * page_value(shape.mla ? 0 : 1, page_of(position), position % shape.page_size, kv_head, dim);
        }
      }
      for (const double value : out) answer.out.push_back(logits.empty() ? 0 : value / sum);
      answer.lse.push_back(logits.empty() ? -std::numeric_limits<double>::infinity() : largest + std::log(sum));
    }
  }
  return answer;
}

Output read_output(const std::string& path) {
  const util::Safetensors file = util::Safetensors::load(path);
  Output output;
  output.metadata = file.metadata();
  const util::Tensor& out = *file.find("out");
  const util::Tensor& lse = *file.find("lse");
  output.dtype = out.dtype;
  output.shape = out.shape;
  for (std::size_t i = 0; i < out.bytes.size(); i += 2) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, out.bytes.data() + i, 2);
    output.out.push_back(to_double(out.dtype == "BF16" ? DType::bf16 : DType::f16, bits));
  }
  for (std::size_t i = 0; i < lse.bytes.size(); i += 4) {
    float value = 0;
    std::memcpy(&value, lse.bytes.data() + i, 4);
    output.lse.push_back(static_cast<double>(value));
  }
  output.bits.assign(out.bytes.begin(), out.bytes.end());
  output.bits.insert(output.bits.end(), lse.bytes.begin(), lse.bytes.end());
  return output;
}

}  // namespace librt::test
