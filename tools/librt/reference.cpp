#include "tools/librt/reference.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "tools/librt/numbers.hpp"

namespace librt::tool {
namespace {

/// Reads `count` elements at `first`; throws where the tensor ends.
void append(std::vector<double>& row, DType dtype, std::span<const std::byte> tensor, std::size_t first, int count) {
  if ((first + static_cast<std::size_t>(count)) * 2 > tensor.size()) {
    throw Error(ErrorCode::internal, "the reference was asked for an element past the end of a tensor");
  }
  for (std::size_t i = first; i < first + static_cast<std::size_t>(count); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, tensor.data() + 2 * i, 2);
    row.push_back(to_double(dtype, bits));
  }
}

class Reader {
 public:
  explicit Reader(const DecodeProblem& problem) : problem_(problem), shape_(shape_of(problem.spec)) {}

  std::vector<double> query(int request, int head) const {
    std::vector<double> row;
    for (std::size_t part = 0; part < shape_.queries.size(); ++part) {
      const std::size_t index =
          static_cast<std::size_t>(request) * static_cast<std::size_t>(shape_.heads) + static_cast<std::size_t>(head);
      append(row, shape_.dtype, problem_.queries[part], index * static_cast<std::size_t>(shape_.queries[part].dim),
             shape_.queries[part].dim);
    }
    return row;
  }

  std::vector<double> key(int request, int position, int kv_head) const {
    std::vector<double> row = page_row(0, request, position, kv_head);
    if (problem_.spec.as<MlaDecodeSpec>().has_value()) {
      const std::vector<double> kpe = page_row(1, request, position, kv_head);
      row.insert(row.end(), kpe.begin(), kpe.end());
    }
    return row;
  }

  std::vector<double> value(int request, int position, int kv_head) const {
    return page_row(problem_.spec.as<MlaDecodeSpec>().has_value() ? 0 : 1, request, position, kv_head);
  }

  int length(int request) const {
    const auto b = static_cast<std::size_t>(request);
    const int pages = problem_.kv_indptr.at(b + 1) - problem_.kv_indptr.at(b);
    return pages == 0 ? 0 : (pages - 1) * shape_.page_size + problem_.kv_last_page_len.at(b);
  }

 private:
  std::vector<double> page_row(std::size_t part, int request, int position, int kv_head) const {
    if (position < 0 || position >= length(request)) {
      throw Error(ErrorCode::internal, "the reference was asked for a padding position");
    }
    const auto first_page = static_cast<std::size_t>(problem_.kv_indptr.at(static_cast<std::size_t>(request)));
    const std::int64_t page =
        problem_.kv_indices.at(first_page + static_cast<std::size_t>(position / shape_.page_size));
    const std::int64_t first = row_of(problem_.strides[part], page, position % shape_.page_size, kv_head);
    std::vector<double> values;
    append(values, shape_.dtype, problem_.pages[part], static_cast<std::size_t>(first), shape_.pages[part].dim);
    return values;
  }

  const DecodeProblem& problem_;
  DecodeShape shape_;
};

}  // namespace

ReferenceResult reference_decode(const DecodeProblem& problem) {
  const DecodeShape shape = shape_of(problem.spec);
  const Reader reader(problem);
  ReferenceResult result;
  for (int request = 0; request < problem.batch; ++request) {
    const int length = reader.length(request);
    for (int head = 0; head < shape.heads; ++head) {
      const int kv_head = head / (shape.heads / shape.kv_heads);
      const std::vector<double> query = reader.query(request, head);
      std::vector<double> logits;
      for (int position = 0; position < length; ++position) {
        const std::vector<double> key = reader.key(request, position, kv_head);
        double dot = 0;
        for (std::size_t i = 0; i < key.size(); ++i) dot += query[i] * key[i];
        logits.push_back(dot * static_cast<double>(problem.sm_scale));
      }
      constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();
      const double largest = logits.empty() ? kMinusInfinity : *std::max_element(logits.begin(), logits.end());
      std::vector<double> out(static_cast<std::size_t>(shape.out_dim), 0.0);
      double sum = 0;
      for (int position = 0; position < length; ++position) {
        const double weight = std::exp(logits[static_cast<std::size_t>(position)] - largest);
        const std::vector<double> value = reader.value(request, position, kv_head);
        sum += weight;
        for (std::size_t i = 0; i < out.size(); ++i) out[i] += weight * value[i];
      }
      for (const double element : out) result.out.push_back(length == 0 ? 0.0 : element / sum);
      result.lse.push_back(length == 0 ? kMinusInfinity : largest + std::log(sum));
    }
  }
  return result;
}

double max_relative_error(const DecodeProblem& problem, const DecodeResult& result, const ReferenceResult& reference) {
  const DecodeShape shape = shape_of(problem.spec);
  const auto dim = static_cast<std::size_t>(shape.out_dim);
  double worst = 0;
  for (std::size_t row = 0; row * dim < reference.out.size(); ++row) {
    double largest = 0;
    double error = 0;
    for (std::size_t i = row * dim; i < (row + 1) * dim; ++i) {
      const double difference = std::abs(to_double(shape.dtype, result.out.at(i)) - reference.out[i]);
      if (std::isnan(difference)) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, std::abs(reference.out[i]));
      error = std::max(error, difference);
    }
    if (error > 0) worst = std::max(worst, error / largest);
  }
  return worst;
}

}  // namespace librt::tool
