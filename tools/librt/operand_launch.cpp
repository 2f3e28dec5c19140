#include "tools/librt/operand_launch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

namespace librt::tool {
namespace {

using util::Tensor;

class FileArguments final : public HostArguments {
 public:
  explicit FileArguments(const OperandLaunch& launch) : launch_(launch) {}

  const Spec& spec() const override { return launch_.spec; }
  std::int64_t count(std::size_t operand) const override { return launch_.arguments.at(operand).count; }
  std::int64_t num_pages() const override { return launch_.num_pages; }
  std::vector<std::int32_t> integers(std::size_t operand, std::int64_t first, std::int64_t elements) const override {
    const OperandLaunch::Argument& argument = launch_.arguments.at(operand);
    const auto size = static_cast<std::int64_t>(argument.tensor->bytes.size() / sizeof(std::int32_t));
    if (first < 0 || elements < 0 || first + elements > size) {
      throw Error(ErrorCode::invalid_argument, fmt::format("tensor {} has {} elements; the page table asks for {}",
                                                           argument.name, size, first + elements));
    }
    std::vector<std::int32_t> values(static_cast<std::size_t>(elements));
    if (values.empty()) return values;
    std::memcpy(values.data(), argument.tensor->bytes.data() + static_cast<std::size_t>(first) * sizeof(std::int32_t),
                values.size() * sizeof(std::int32_t));
    return values;
  }

 private:
  const OperandLaunch& launch_;
};

/// Dense in the file; NHD is the default of a PagedTensor.
PagedTensor pages_of(const OperandLaunch& launch, const Operand& operand, const Buffer& buffer) {
  PagedTensor pages{.data = buffer.data(), .num_pages = launch.num_pages};
  if (!launch.hnd || operand.shape.size() != 4) return pages;
  const std::int64_t tokens = launch.spec.get(operand.shape[1]), heads = launch.spec.get(operand.shape[2]);
  const std::int64_t dim = launch.spec.get(operand.shape[3]);
  pages.page_stride = tokens * heads * dim;
  pages.token_stride = dim;
  pages.head_stride = tokens * dim;
  return pages;
}

}  // namespace

void inspect(const OperandLaunch& launch) {
  const auto inspect = description(*launch.spec.kind()).inspect;
  if (inspect != nullptr) inspect(FileArguments(launch));
}

std::vector<std::byte> run_operands(Runtime& runtime, const Kernel& kernel, const OperandLaunch& launch) {
  constexpr std::size_t kSmallest = 256;  // so that an empty tensor has a valid pointer, too
  const auto operands = description(*launch.spec.kind()).operands;
  std::deque<Buffer> buffers;
  std::vector<Binding> bindings;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const OperandLaunch::Argument& argument = launch.arguments[i];
    Buffer& buffer = buffers.emplace_back();
    if (argument.tensor == nullptr) {
      bindings.emplace_back(operands[i].name, Count{argument.count});
      continue;
    }
    buffer = runtime.allocate(std::max(argument.tensor->bytes.size(), kSmallest));
    if (!argument.tensor->bytes.empty()) runtime.upload(buffer, argument.tensor->bytes);
    if (operands[i].form == Form::paged) {
      bindings.emplace_back(operands[i].name, pages_of(launch, operands[i], buffer));
    } else if (operands[i].form == Form::rows) {
      bindings.emplace_back(operands[i].name, RowTensor{.data = buffer.data()});
    } else {
      bindings.emplace_back(operands[i].name, static_cast<const void*>(buffer.data()));
    }
  }
  kernel.launch(bindings);
  runtime.synchronize();
  std::deque<std::vector<std::byte>> updated;
  std::map<std::string, Tensor> tensors;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].access == Access::read) continue;
    const Tensor& before = *launch.arguments[i].tensor;
    std::vector<std::byte>& bytes = updated.emplace_back(before.bytes.size());
    runtime.download(bytes, buffers[i]);
    tensors[launch.arguments[i].name] = {before.dtype, before.shape, bytes};
  }
  return util::write_safetensors(
      tensors, {{"kernel", std::string(launch.spec.kernel())}, {"kv_layout", launch.hnd ? "HND" : "NHD"}});
}

}  // namespace librt::tool
