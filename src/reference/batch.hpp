// A decode batch on the host: its tensors, its page table, and which positions are valid.
//
// What a test changes at a valid position goes through Batch::key and Batch::value; everything else in the stores is
// padding and is only ever written by fill_padding.
#pragma once

#include <librt/librt.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/reference/numbers.hpp"

namespace librt::reference {

/// What a test must know of either kind of spec.
struct Shape {
  bool is_mla = false;
  DType dtype = DType::bf16;
  int qo_heads = 0;
  int kv_heads = 1;
  int page_size = 0;
  int first_dim = 0;   ///< K, or ckv
  int second_dim = 0;  ///< V, or kpe

  int group() const { return qo_heads / kv_heads; }
  int out_dim() const { return first_dim; }  ///< also of q, or q_nope
  int q_pe_dim() const { return is_mla ? second_dim : 0; }
};

Shape shape_of(const Spec& spec);

enum class Layout { nhd, hnd, padded };  ///< padded: gaps behind heads, tokens and pages, different for K and V

/// One paged tensor of the KV cache.
struct PagedStore {
  int num_pages = 0, page_size = 0, heads = 1, dim = 0;
  std::int64_t page_stride = 0, token_stride = 0, head_stride = 0;  ///< elements
  std::vector<Bits> data{};

  std::size_t row(int page, int slot, int head) const {
    return static_cast<std::size_t>(page * page_stride + slot * token_stride + head * head_stride);
  }
  PagedTensor on_device(const Buffer& buffer) const {
    return {buffer.data(), num_pages, page_stride, token_stride, head_stride};
  }
};

/// Pages of each request, numbered from 0, and how many they need in all.
struct PageOwnership {
  std::vector<std::vector<int>> pages{};
  int count = 0;
};

/// @param shared_pages leading pages that requests have in common, as far as they have so many
PageOwnership hand_out_pages(std::span<const int> kv_lens, int page_size, int shared_pages);

struct Recipe {
  std::vector<int> kv_lens{};
  Layout layout = Layout::nhd;
  std::uint64_t seed = 1;
  bool permuted = true;    ///< page ids in random order
  int unowned_pages = 2;   ///< pages of the pool that no request owns
  int entries_before = 0;  ///< kv_indices entries before kv_indptr[0]: junk
  int entries_after = 0;   ///< kv_indices entries after the last request: junk
  int shared_pages = 0;    ///< leading pages that requests have in common, as far as they have so many
  double key_scale = 1;    ///< larger: the softmax picks fewer positions
};

std::string to_string(const Recipe& recipe);

struct Batch {
  Spec spec{};
  Shape shape{};
  float sm_scale = 1;
  std::vector<Bits> q{}, q_pe{};  ///< [batch, qo_heads, dim]; q_pe for MLA only
  PagedStore first{}, second{};   ///< K and V, or ckv and kpe
  std::vector<std::int32_t> kv_indptr{}, kv_indices{}, kv_last_page_len{};

  int size() const { return static_cast<int>(kv_last_page_len.size()); }
  std::span<const std::int32_t> pages(int request) const;
  int kv_len(int request) const;

  /// Number `d` of the key of a valid position: K, or ckv followed by kpe. Throws std::out_of_range for padding.
  Bits& key(int request, int position, int kv_head, int d);
  /// Number `d` of the value of a valid position: V, or ckv. Throws std::out_of_range for padding.
  Bits& value(int request, int position, int kv_head, int d);
  /// Number `d` of a query row: q, or q_nope followed by q_pe.
  Bits& query(int request, int qo_head, int d);

  double number(Bits bits) const { return to_double(bits, shape.dtype); }
  Bits bits(double value) const { return to_bits(value, shape.dtype); }
};

/// Random valid positions; every padding position holds zeros; last_page_len of a request without pages is junk.
Batch make_batch(const Spec& spec, const Recipe& recipe);

enum class Poison {
  zero,
  quiet_nan,
  signalling_nan,
  nan_all_ones,
  plus_infinity,
  minus_infinity,
  largest,
  minus_largest,
  denormal,
  random_bits,
};

inline constexpr Poison kPoisons[] = {
    Poison::quiet_nan, Poison::signalling_nan, Poison::nan_all_ones, Poison::plus_infinity, Poison::minus_infinity,
    Poison::largest,   Poison::minus_largest,  Poison::denormal,     Poison::random_bits,
};

std::string to_string(Poison poison);

/// Which of the two tensors gets the poison.
struct Operands {
  bool first = true;   ///< K, or ckv
  bool second = true;  ///< V, or kpe
};

/// A copy in which every padding position holds `poison`: page tails, pages that no request owns, stride gaps.
Batch fill_padding(Batch batch, Poison poison, Operands operands = {}, std::uint64_t seed = 1);

/// The batch with only these requests, in this order, over the same pool: what only others own becomes padding.
Batch pick(const Batch& batch, const std::vector<int>& requests);

}  // namespace librt::reference
