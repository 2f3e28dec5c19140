// The batch of one case of a proof, and who may read which of its elements.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "src/ptx/taint.hpp"
#include "tools/librt/decode.hpp"
#include "tools/librt/proof_cases.hpp"

namespace librt::tool {

/// Label 0: valid for no request. Label r + 1: not valid for request r.
inline constexpr ptx::Labels kPadding = 1;
constexpr ptx::Labels padding_of(int request) {
  return static_cast<ptx::Labels>(2U << request);
}
/// Labels of what the requests of `readers` (a bit for each) may read and nobody else may.
ptx::Labels labels_for(unsigned readers, int requests);

/// Owns the tensors of its problem: random numbers at valid positions and in padding alike, since labels do not care.
class ProofBatch {
 public:
  /// @param spec with as many heads as the case wants
  ProofBatch(const Spec& spec, const ProofCase& one, std::uint32_t seed);
  /// A batch from elsewhere, whose tensors must outlive this.
  explicit ProofBatch(DecodeProblem problem);
  ProofBatch(const ProofBatch& other);
  ProofBatch& operator=(const ProofBatch&) = delete;

  const DecodeProblem& problem() const { return problem_; }
  const DecodeShape& shape() const { return shape_; }
  /// What the host believes of pages and last pages: the plan is made from it.
  const std::vector<std::int32_t>& planned_kv_indptr() const { return planned_kv_indptr_; }
  const std::vector<std::int32_t>& planned_last_page_len() const { return planned_last_page_len_; }
  int kv_len(int request) const;

  /// A bit for each request to which the slot is valid: [num_pages * page_size].
  const std::vector<unsigned>& readers() const { return readers_; }
  /// Labels of each element of page tensor `part`.
  std::vector<ptx::Labels> page_labels(std::size_t part) const;
  std::vector<ptx::Labels> index_labels() const;
  std::vector<ptx::Labels> last_page_len_labels() const;

  /// "page 3, slot 2, head 0, element 17", or that it is a gap between rows.
  std::string describe_page_element(std::size_t part, std::size_t element) const;

  /// New numbers in the queries of the requests of `changed` and in the slots that nobody else reads.
  void change_requests(unsigned changed, std::uint32_t seed);

 private:
  void hand_out_pages(const ProofCase& one, std::uint32_t seed);
  void find_readers();
  void point_to_tensors();

  DecodeProblem problem_;
  DecodeShape shape_;
  std::vector<std::int32_t> planned_kv_indptr_;
  std::vector<std::int32_t> planned_last_page_len_;
  std::vector<unsigned> readers_;
  std::vector<std::vector<std::uint16_t>> queries_;
  std::vector<std::vector<std::uint16_t>> pages_;
};

}  // namespace librt::tool
