// Batches for `librt run`: logical tensors, the file in any layout, and the answer in double precision.
#pragma once

#include <librt/types.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace librt::test {

/// A tensor file whose every part can be spoiled before it is written.
struct FileContents {
  struct Tensor {
    std::string dtype;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;

  void set_integers(const std::string& name, const std::vector<std::int32_t>& values);
  void write(const std::string& path) const;
};

struct BatchShape {
  bool mla = false;
  DType dtype = DType::bf16;
  int heads = 8;
  int kv_heads = 2;
  int key_dim = 64;    // MLA: of ckv
  int second_dim = 0;  // MLA: of kpe
  int page_size = 4;
  int num_pages = 40;
  bool hnd = false;
};

BatchShape gqa_shape();
BatchShape mla_shape();

/// Requests of the given lengths over random pages, all values random.
class Batch {
 public:
  Batch(const BatchShape& shape, const std::vector<int>& lengths, unsigned seed);

  /// Gives every padding element of the pages the next of `bits`.
  void fill_padding(const std::function<std::uint16_t()>& bits);

  FileContents file() const;

  struct Answer {
    std::vector<double> out;  // [batch, heads, key_dim]
    std::vector<double> lse;
  };
  Answer reference() const;

  BatchShape shape;
  std::vector<int> lengths;
  std::vector<std::int32_t> kv_indptr;
  std::vector<std::int32_t> kv_indices;
  std::vector<std::int32_t> kv_last_page_len;
  float sm_scale = 0.125F;

 private:
  std::uint16_t random_number();
  double page_value(int part, int page, int slot, int head, int dim) const;
  int page_dim(int part) const { return part == 1 && shape.mla ? shape.second_dim : shape.key_dim; }
  std::size_t page_index(int part, int page, int slot, int head, int dim) const;

  std::mt19937 random_;
  std::vector<std::uint16_t> queries_[2];
  std::vector<std::uint16_t> pages_[2];  // [page, slot, head, dim]
};

double to_double(DType dtype, std::uint16_t bits);

/// What the tool wrote, as doubles and as bits.
struct Output {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<double> out;
  std::vector<double> lse;
  std::vector<std::byte> bits;  // of both
  std::map<std::string, std::string> metadata;
};
Output read_output(const std::string& path);

}  // namespace librt::test
