// librt run on files that are damaged, wrong or hostile: exit code 1, the tensor named, no output.
#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>

#include "tests/cli/batch.hpp"
#include "tests/cli/process.hpp"

using librt::test::Batch;
using librt::test::FileContents;
using librt::test::Finished;
using librt::test::Tool;

namespace {

void check_refused(const Tool& tool, const std::string& in, const std::vector<std::string>& named) {
  const std::string out = tool.file("out.safetensors");
  const Finished finished = tool({"run", in, "-o", out, "--device", "virtual"});
  CHECK(finished.exit_code == 1);
  CHECK(finished.out.empty());
  for (const std::string& word : named) CHECK_THAT(finished.err, Catch::Contains(word));
  CHECK_FALSE(std::filesystem::exists(out));
}

FileContents gqa() {
  return Batch(librt::test::gqa_shape(), {13, 0, 6}, 3).file();
}  // kv_indptr 0 4 4 6
FileContents mla() {
  return Batch(librt::test::mla_shape(), {13, 0, 6}, 3).file();
}

std::string bytes_of(const std::string& header, std::size_t data_bytes) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  return file + header + std::string(data_bytes, '\0');
}

}  // namespace

TEST_CASE("cli run: files that are not safetensors", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  check_refused(tool, tool.file("absent"), {"absent"});
  check_refused(tool, "/", {"/"});

  gqa().write(in);
  const std::string whole = librt::test::read_text(in);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{100}, whole.size() / 2, whole.size() - 1}) {
    CAPTURE(size);
    librt::test::write_text(in, whole.substr(0, size));
    check_refused(tool, in, {"librt: "});
  }
  const auto refused = [&](const std::string& bytes, const std::vector<std::string>& named) {
    librt::test::write_text(in, bytes);
    check_refused(tool, in, named);
  };
  refused(std::string(8, '\xff') + "{}", {"header"});
  refused(bytes_of("{\"q\":" + std::string(1 << 20, '['), 0), {"\"q\"", "must be an object"});
  refused(bytes_of(R"({"q":{"dtype":"BF16","shape":[4],"data_offsets":[-8,0]}})", 8), {"\"q\"", "-8"});
  refused(bytes_of(R"({"q":{"dtype":"BF16","shape":[4],"data_offsets":[8,0]}})", 8), {"\"q\"", "reversed"});
  refused(bytes_of(R"({"q":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]},)"
                   R"("k_pages":{"dtype":"BF16","shape":[4],"data_offsets":[4,12]}})",
                   12),
          {"\"k_pages\"", "overlap"});
  refused(
      bytes_of(R"({"q":{"dtype":"BF16","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,8]}})", 8),
      {"\"q\"", "63 bits"});
  refused(bytes_of("{}", 0), {"metadata kernel is missing"});
}

TEST_CASE("cli run, check: a file that does not fit into memory is named", "[cli]") {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  WARN("skipped: a sanitizer needs address space without a limit");
#else
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto check_limited = [&](const std::string& said) {
    const std::vector<std::string> verbs[] = {{"check", in},
                                              {"run", in, "-o", tool.file("out"), "--device", "virtual"}};
    for (const std::vector<std::string>& verb : verbs) {
      std::vector<std::string> words{"-c", "ulimit -v 4000000; exec \"$@\"", "sh", LIBRT_TOOL};
      words.insert(words.end(), verb.begin(), verb.end());
      const Finished finished = librt::test::run_process("/bin/sh", words, {{"LIBRT_CACHE_DIR", tool.cache()}});
      CHECK(finished.exit_code == 1);
      CHECK_THAT(finished.err, Catch::Contains(in) && Catch::Contains(said));
    }
  };
  constexpr std::uintmax_t kHole = std::uintmax_t{64} << 30;
  const std::string header = R"({"t":{"dtype":"U8","shape":[68719476736],"data_offsets":[0,68719476736]}})";
  librt::test::write_text(in, bytes_of(header, 0));
  std::filesystem::resize_file(in, 8 + header.size() + kHole);
  check_limited("there is not enough memory for its 68719476");
  // What is not sound is refused before it is read.
  librt::test::write_text(in, "");
  std::filesystem::resize_file(in, kHole);
  check_limited("not a safetensors file");
#endif
}

TEST_CASE("cli run: tensors that are missing or of the wrong kind", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto refused = [&](const FileContents& file, const std::vector<std::string>& named) {
    file.write(in);
    check_refused(tool, in, named);
  };
  for (const FileContents& good : {gqa(), mla()}) {
    for (const auto& [name, tensor] : good.tensors) {
      CAPTURE(name);
      FileContents file = good;
      file.tensors.erase(name);
      refused(file, {"tensor " + name + " is missing"});

      file = good;
      file.tensors[name].shape.push_back(1);
      refused(file, {"tensor " + name + " has shape"});

      file = good;
      file.tensors[name].dtype = tensor.dtype == "I32" ? "F32" : "I16";
      refused(file, {"tensor " + name + " is ", tensor.dtype == "I32" ? "F32" : "I16"});

      if (tensor.dtype == "I32") {
        file = good;
        file.tensors[name] = {"I64", tensor.shape, std::vector<std::byte>(tensor.bytes.size() * 2)};
        refused(file, {"tensor " + name + " is I64; it must be I32"});
      } else {
        file = good;
        file.tensors[name].dtype = "F8_E4M3";
        file.tensors[name].shape.back() *= 2;
        refused(file, {name, "F8_E4M3"});
        file = good;
        file.tensors[name].dtype = "F16";  // the others stay BF16
        refused(file, {"must be the same"});
      }
    }
  }
}

TEST_CASE("cli run: shapes that do not fit each other", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto reshaped = [&](FileContents file, const std::string& name, const std::vector<std::int64_t>& shape,
                            const std::vector<std::string>& named) {
    auto& tensor = file.tensors.at(name);
    std::int64_t elements = 1;
    for (const std::int64_t extent : shape) elements *= extent;
    tensor.shape = shape;
    tensor.bytes.resize(static_cast<std::size_t>(elements) * (tensor.dtype == "I32" ? 4 : 2));
    file.write(in);
    CAPTURE(name, shape);
    check_refused(tool, in, named);
  };
  reshaped(gqa(), "q", {4, 8, 64}, {"tensor q has 4 rows", "3 requests"});
  reshaped(gqa(), "q", {3, 8, 72}, {"k_pages", "72"});
  reshaped(gqa(), "q", {3, 7, 64}, {"tensor q has 7 heads", "the 2 heads of the pages"});
  reshaped(gqa(), "q", {3, 0, 64}, {"tensor q has shape [3, 0, 64]", "at least 1"});
  reshaped(gqa(), "k_pages", {40, 4, 2, 32}, {"k_pages"});
  reshaped(gqa(), "v_pages", {39, 4, 2, 64}, {"tensor v_pages"});
  reshaped(gqa(), "kv_last_page_len", {2}, {"tensor kv_last_page_len has 2 elements"});
  reshaped(gqa(), "kv_indptr", {0}, {"tensor kv_indptr has no elements"});
  reshaped(mla(), "q_pe", {3, 15, 64}, {"tensor q_pe"});
  reshaped(mla(), "q_nope", {3, 129, 512}, {"q_pe"});
  reshaped(mla(), "kpe_pages", {40, 3, 64}, {"tensor kpe_pages"});
  reshaped(mla(), "kpe_pages", {41, 4, 64}, {"tensor kpe_pages"});
  reshaped(mla(), "ckv_pages", {40, 4, 256}, {"tensor ckv_pages"});

  FileContents f8 = gqa();
  for (const char* const name : {"k_pages", "v_pages"}) {
    auto& tensor = f8.tensors.at(name);
    tensor.dtype = "F8_E4M3";
    tensor.bytes.resize(tensor.bytes.size() / 2);
  }
  f8.write(in);
  check_refused(tool, in, {"tensor k_pages is F8_E4M3", "the kernels do not read"});
}

TEST_CASE("cli run: page tables that would read what is not there", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto refused = [&](const std::string& name, const std::vector<std::int32_t>& values,
                           const std::string& element) {
    FileContents file = gqa();
    file.set_integers(name, values);
    file.write(in);
    CAPTURE(name, values);
    check_refused(tool, in, {"tensor " + name, element});
  };
  refused("kv_indptr", {-1, 4, 4, 6}, "element 0 is -1");
  refused("kv_indptr", {0, 4, 3, 6}, "element 2 is 3");
  refused("kv_indptr", {0, 4, 4, 7}, "element 3 is 7");
  refused("kv_indptr", {0, 4, 4, 2147483647}, "element 3 is 2147483647");
  refused("kv_indptr", {7, 7, 7, 7}, "element 0 is 7");
  refused("kv_last_page_len", {0, 0, 2}, "element 0 is 0");
  refused("kv_last_page_len", {1, 0, 5}, "element 2 is 5");
  refused("kv_last_page_len", {1, 0, -2147483647 - 1}, "element 2 is -2147483648");
  refused("kv_indices", {0, 1, 2, 40, 4, 5}, "element 3 is 40");
  refused("kv_indices", {0, 1, 2, 3, 4, -1}, "element 5 is -1");
}

TEST_CASE("cli run: metadata that is missing, malformed or asks for more than there is", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const auto refused = [&](const std::string& name, const std::string& value) {
    FileContents file = gqa();
    file.metadata[name] = value;
    file.write(in);
    CAPTURE(name, value);
    check_refused(tool, in, {"metadata " + name});
  };
  refused("kernel", "");
  refused("kernel", "paged_attention");
  for (const char* const value : {"", "0", "abc", "1.0x", "nan", "inf", "1e400", "1e-60"}) refused("sm_scale", value);
  refused("kv_layout", "DHN");
  refused("causal", "maybe");
  refused("window_left", "128");
  refused("window_left", "0");
  refused("logits_soft_cap", "30.0");
  refused("logits_soft_cap", "nan");
}

TEST_CASE("cli run: several query tokens a request are refused", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  FileContents file = gqa();
  file.set_integers("qo_indptr", {0, 1, 3, 4});
  file.write(in);
  check_refused(tool, in, {"tensor qo_indptr: element 3 is 4, but q has 3 rows"});
  file.set_integers("qo_indptr", {0, 2, 2, 3});
  file.write(in);
  check_refused(tool, in, {"qo_indptr gives 2 query tokens to request 0", "takes one for each"});
  file.set_integers("qo_indptr", {0, 1, 2});
  file.write(in);
  check_refused(tool, in, {"tensor qo_indptr has 3 elements"});
}

TEST_CASE("cli run: an output that was there before stays as it was", "[cli]") {
  const Tool tool;
  const std::string in = tool.file("in.safetensors");
  const std::string out = tool.file("out.safetensors");
  librt::test::write_text(in, "nonsense");
  librt::test::write_text(out, "precious");
  CHECK(tool({"run", in, "-o", out, "--device", "virtual"}).exit_code == 1);
  CHECK(librt::test::read_text(out) == "precious");
}
