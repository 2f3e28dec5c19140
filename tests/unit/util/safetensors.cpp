#include "src/util/safetensors.hpp"

#include <librt/error.hpp>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <span>
#include <string>

#include "tests/support/temp_dir.hpp"

using librt::util::Safetensors;
using librt::util::Tensor;

namespace {

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes) {
  std::vector<std::byte> file(8 + header.size() + data_bytes);
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, 8);
  std::memcpy(file.data() + 8, header.data(), header.size());
  return file;
}

std::string error_of(std::vector<std::byte> file) {
  try {
    Safetensors::parse(std::move(file));
  } catch (const librt::Error& error) {
    CHECK(error.code() == librt::ErrorCode::invalid_argument);
    return error.what();
  }
  return "accepted";
}

std::string error_of(const std::string& header, std::size_t data_bytes) {
  return error_of(file_of(header, data_bytes));
}

std::string tensor_header(const std::string& fields) {
  return "{\"t\":{" + fields + "}}";
}

}  // namespace

TEST_CASE("safetensors: a file of the reference implementation's shape is read", "[safetensors]") {
  const std::string header = R"({"__metadata__":{"kernel":"gqa_decode","sm_scale":"0.125"},)"
                             R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
                             R"("a":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
                             R"("none":{"dtype":"F32","shape":[0,5],"data_offsets":[20,20]}}   )";
  auto file = file_of(header, 20);
  std::iota(reinterpret_cast<unsigned char*>(file.data() + 8 + header.size()),
            reinterpret_cast<unsigned char*>(file.data() + file.size()), static_cast<unsigned char>(1));
  const Safetensors parsed = Safetensors::parse(std::move(file));
  CHECK(parsed.metadata() == std::map<std::string, std::string>{{"kernel", "gqa_decode"}, {"sm_scale", "0.125"}});
  REQUIRE(parsed.tensors().size() == 3);
  const Tensor* const b = parsed.find("b");
  REQUIRE(b != nullptr);
  CHECK(b->dtype == "BF16");
  CHECK(b->shape == std::vector<std::int64_t>{2, 3});
  REQUIRE(b->bytes.size() == 12);
  CHECK(b->bytes.front() == std::byte{9});
  CHECK(b->bytes.back() == std::byte{20});
  CHECK(parsed.find("a")->shape.empty());
  CHECK(parsed.find("none")->bytes.empty());
  CHECK(parsed.find("c") == nullptr);
}

TEST_CASE("safetensors: tensors stay valid when the file is moved", "[safetensors]") {
  Safetensors first = Safetensors::parse(file_of(R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3));
  const std::byte* const data = first.find("t")->bytes.data();
  const Safetensors second = std::move(first);
  CHECK(second.find("t")->bytes.data() == data);
}

TEST_CASE("safetensors: the smallest files", "[safetensors]") {
  CHECK(Safetensors::parse(file_of("{}", 0)).tensors().empty());
  CHECK(error_of({}) == "not a safetensors file: the file has 0 bytes, too few for the 8 bytes of the header's length");
  CHECK_THAT(error_of(std::vector<std::byte>(7)), Catch::Contains("too few"));
  CHECK_THAT(error_of(std::vector<std::byte>(8)), Catch::Contains("does not begin with '{'"));
  CHECK_THAT(error_of("{}", 5), Catch::Contains("5 bytes after the last tensor's end, at 0"));
}

TEST_CASE("safetensors: hostile header lengths", "[safetensors]") {
  auto file = file_of("{}", 0);
  for (const std::uint64_t length : {std::uint64_t{3}, std::uint64_t{99'999'999}}) {
    std::memcpy(file.data(), &length, 8);
    CHECK_THAT(error_of(file), Catch::Contains("but only 2 bytes follow it"));
  }
  for (const std::uint64_t length : {std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{0} - 7}) {
    std::memcpy(file.data(), &length, 8);
    CHECK_THAT(error_of(file), Catch::Contains("above the allowed 100000000"));
  }
}

TEST_CASE("safetensors: every truncation of a good file is refused", "[safetensors]") {
  const auto whole = file_of(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  REQUIRE(error_of(whole) == "accepted");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(error_of({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)}) != "accepted");
  }
}

TEST_CASE("safetensors: header that is not a table of tensors", "[safetensors]") {
  CHECK_THAT(error_of("{", 0), Catch::Contains("not valid JSON"));
  CHECK_THAT(error_of("{} {}", 0), Catch::Contains("not valid JSON"));
  CHECK_THAT(error_of("[]", 0), Catch::Contains("does not begin with '{'"));
  CHECK_THAT(error_of("\xef\xbb\xbf{}", 0), Catch::Contains("does not begin with '{'"));
  CHECK_THAT(error_of("{\"\xff\":1}", 0), Catch::Contains("not valid JSON"));
  CHECK_THAT(error_of(R"({"t":1})", 0), Catch::Contains("tensor \"t\": must be an object, is the number 1"));
  CHECK_THAT(error_of(R"({"t":[]})", 0), Catch::Contains("tensor \"t\": must be an object, is an array"));
  CHECK_THAT(error_of(R"({"t":null})", 0), Catch::Contains("is null"));
  CHECK_THAT(error_of(R"({"__metadata__":{"a":1}})", 0), Catch::Contains("metadata \"a\": must be a string"));
  CHECK_THAT(error_of(R"({"__metadata__":{"a":{}}})", 0), Catch::Contains("metadata \"a\": must be a string"));
  CHECK_THAT(error_of(R"({"__metadata__":[]})", 0), Catch::Contains("must be an object"));
}

TEST_CASE("safetensors: duplicates are refused", "[safetensors]") {
  const std::string t = R"("t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  CHECK_THAT(error_of("{" + t + "," + t + "}", 1), Catch::Contains("tensor \"t\": appears twice in the header"));
  CHECK_THAT(error_of(R"({"__metadata__":{},"__metadata__":{}})", 0), Catch::Contains("appears twice"));
  CHECK_THAT(error_of(R"({"__metadata__":{"a":"1","a":"2"}})", 0), Catch::Contains("metadata \"a\": appears twice"));
  CHECK_THAT(error_of(tensor_header(R"("dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1])"), 1),
             Catch::Contains("dtype appears twice"));
}

TEST_CASE("safetensors: a tensor's fields are checked and named", "[safetensors]") {
  const auto error = [](const std::string& fields, std::size_t bytes = 0) {
    return error_of(tensor_header(fields), bytes);
  };
  CHECK_THAT(error(R"("dtype":"U8","shape":[1])"), Catch::Contains("tensor \"t\": data_offsets is missing"));
  CHECK_THAT(error(R"("dtype":"U8","data_offsets":[0,0])"), Catch::Contains("shape is missing"));
  CHECK_THAT(error(R"("shape":[],"data_offsets":[0,0])"), Catch::Contains("dtype is missing"));
  CHECK_THAT(error(R"("dtype":"BF17","shape":[],"data_offsets":[0,0])"), Catch::Contains("dtype is \"BF17\""));
  CHECK_THAT(error(R"("dtype":8,"shape":[],"data_offsets":[0,0])"), Catch::Contains("dtype must not be or hold"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[-1],"data_offsets":[0,0])"), Catch::Contains("shape holds -1"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[1.5],"data_offsets":[0,1])", 1), Catch::Contains("number 1.5"));
  CHECK_THAT(error(R"("dtype":"U8","shape":["1"],"data_offsets":[0,1])", 1), Catch::Contains("a string"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[[1]],"data_offsets":[0,1])", 1), Catch::Contains("an array"));
  CHECK_THAT(error(R"("dtype":"U8","shape":3,"data_offsets":[0,3])", 3), Catch::Contains("shape must not be"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,1])"),
             Catch::Contains("too large"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[36893488147419103232],"data_offsets":[0,1])"),
             Catch::Contains("number 36893488147419103232"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[1],"data_offsets":[0])"), Catch::Contains("1 numbers, not 2"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[1],"data_offsets":[0,1,2])"), Catch::Contains("3 numbers, not 2"));
  CHECK_THAT(error(R"("dtype":"U8","shape":[1],"data_offsets":[-1,0])"), Catch::Contains("data_offsets holds -1"));
  std::string many = "1";
  for (int i = 0; i < 100; ++i) many += ",1";
  CHECK_THAT(error("\"dtype\":\"U8\",\"shape\":[" + many + "],\"data_offsets\":[0,1]", 1),
             Catch::Contains("more than 64 numbers"));
}

TEST_CASE("safetensors: sizes that do not fit", "[safetensors]") {
  const auto error = [](const std::string& shape, const std::string& offsets, std::size_t bytes) {
    return error_of(tensor_header("\"dtype\":\"F32\",\"shape\":" + shape + ",\"data_offsets\":" + offsets), bytes);
  };
  CHECK(error("[2]", "[0,8]", 8) == "accepted");
  CHECK_THAT(error("[3]", "[0,8]", 8), Catch::Contains("shape [3] of F32 needs 12 bytes, but data_offsets 0 to 8"));
  CHECK_THAT(error("[2]", "[8,0]", 8), Catch::Contains("reversed: 8 to 0"));
  CHECK_THAT(error("[2]", "[0,8]", 4), Catch::Contains("end at 8, but the file holds 4 bytes"));
  CHECK_THAT(error("[2]", "[0,8]", 9), Catch::Contains("1 bytes after the last tensor's end"));
  CHECK_THAT(error("[4611686018427387904]", "[0,0]", 0), Catch::Contains("fits 63 bits"));
  CHECK_THAT(error("[4294967296,4294967296]", "[0,0]", 0), Catch::Contains("fits 63 bits"));
  CHECK_THAT(error("[0,4294967296,4294967296]", "[0,0]", 0), Catch::Contains("fits 63 bits"));
}

TEST_CASE("safetensors: overlaps and holes are refused", "[safetensors]") {
  const auto error = [](const std::string& first, const std::string& second, std::size_t bytes) {
    return error_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first +
                        R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                    bytes);
  };
  CHECK(error("[4,8]", "[0,4]", 8) == "accepted");
  CHECK_THAT(error("[0,4]", "[3,7]", 7),
             Catch::Contains("tensor \"b\": data_offsets 3 to 7 overlap tensor \"a\", which ends at 4"));
  CHECK_THAT(error("[0,4]", "[0,4]", 4), Catch::Contains("overlap"));
  CHECK_THAT(error("[0,4]", "[5,9]", 9), Catch::Contains("tensor \"b\": data_offsets begin at 5"));
  CHECK_THAT(error("[1,5]", "[5,9]", 9), Catch::Contains("tensor \"a\": data_offsets begin at 1"));
}

TEST_CASE("safetensors: a NUL ends no header", "[safetensors]") {
  const std::string nul(1, '\0');
  for (const std::string& header :
       {"{}" + nul, "{}" + nul + "{}", "{}  " + nul + "junk", "{" + nul + "}", nul + "{}", "{\"a" + nul + "\":1}"}) {
    CHECK(error_of(header, 0) != "accepted");
  }
  CHECK_THAT(error_of("{}" + nul + "junk", 0), Catch::Contains("not valid JSON at byte 2: there is a NUL"));
}

TEST_CASE("safetensors: white space, unknown fields and no metadata, as the reference reader has it", "[safetensors]") {
  CHECK(error_of("        {}", 0) == "accepted");
  CHECK(error_of(" \t\r\n{ }\n\t\r ", 0) == "accepted");
  CHECK(error_of(R"({"__metadata__":null})", 0) == "accepted");
  const auto with = [](const std::string& field) {
    return error_of(tensor_header(R"("note":)" + field + R"(,"dtype":"U8","shape":[1],"more":)" + field +
                                  R"(,"data_offsets":[0,1],"last":)" + field),
                    1);
  };
  for (const char* const value : {"1", "-1", "1.5", "\"text\"", "null", "true", "{}", "[]",
                                  R"({"a":[{"dtype":{}},[]]})", R"([{"shape":[1,"x",null]},2])"}) {
    CAPTURE(value);
    CHECK(with(value) == "accepted");
  }
  CHECK(with(std::string(100, '[') + std::string(100, ']')) == "accepted");
  CHECK_THAT(with(std::string(1'000'000, '[')), Catch::Contains("nested more than"));
  CHECK_THAT(error_of(tensor_header(R"("note":{"dtype":"U8"},"shape":[1],"data_offsets":[0,1])"), 1),
             Catch::Contains("dtype is missing"));
}

TEST_CASE("safetensors: what is often found in the place of a file is named", "[safetensors]") {
  const auto is = [](const std::string& text) {
    const auto bytes = std::as_bytes(std::span(text));
    return error_of(std::vector<std::byte>(bytes.begin(), bytes.end()));
  };
  CHECK_THAT(is("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
             Catch::Contains("not a safetensors file but a git-lfs pointer"));
  CHECK_THAT(is(std::string("PK\x03\x04", 4) + std::string(60, 'x')), Catch::Contains("a zip archive"));
  CHECK_THAT(is("\x80\x04\x95 pickled"), Catch::Contains("a pickle"));
  CHECK_THAT(is("\x89HDF\r\n\x1a\n and more"), Catch::Contains("an HDF5 file"));
  CHECK_THAT(is("GGUF and more"), Catch::Contains("a GGUF file"));
  CHECK_THAT(is("\x93NUMPY and more"), Catch::Contains("a NumPy array"));
  CHECK_THAT(is("{\"weight_map\": {}}"), Catch::Contains("JSON text"));
  CHECK_THAT(is("<html>not found</html>"), Catch::Contains("HTML"));
  CHECK_THAT(is("{}"), Catch::Contains("JSON text"));
  CHECK_THAT(is("some other text"), Catch::StartsWith("not a safetensors file: the header's length"));
}

TEST_CASE("safetensors: a header of nothing but metadata or tensors is bounded", "[safetensors]") {
  const auto many = [](int count, const std::string& before, const std::string& after) {
    std::string text;
    for (int i = 0; i < count; ++i) text += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":" + before;
    return text + after;
  };
  CHECK(error_of("{\"__metadata__\":{" + many(65536, "\"\"", "}}"), 0) == "accepted");
  CHECK_THAT(error_of("{\"__metadata__\":{" + many(65537, "\"\"", "}}"), 0),
             Catch::Contains("more than 65536 metadata"));
  CHECK_THAT(error_of("{" + many(262145, R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})", "}"), 0),
             Catch::Contains("more than 262144 tensors"));
}

TEST_CASE("safetensors: a file is read as far as it is sound, and named", "[safetensors]") {
  const librt::test::TempDir directory;
  const std::string path = directory / "huge";
  std::ofstream(path).close();
  std::filesystem::resize_file(path, std::uintmax_t{1} << 39);  // holes: zeros, so that the header's length is 0
  try {
    librt::util::Safetensors::load(path);
    FAIL("accepted");
  } catch (const librt::Error& error) {
    CHECK(error.code() == librt::ErrorCode::invalid_argument);
    CHECK_THAT(error.what(), Catch::StartsWith(path + ": not a safetensors file: the header does not begin with '{'"));
  }
}

TEST_CASE("safetensors: deep nesting is refused at the first surplus bracket", "[safetensors]") {
  const std::string deep(1'000'000, '[');
  CHECK_THAT(error_of("{\"t\":" + deep, 0), Catch::Contains("tensor \"t\": must be an object, is an array"));
  CHECK_THAT(error_of(R"({"t":{"shape":)" + deep, 0), Catch::Contains("shape must not be or hold an array"));
  std::string objects = "{";
  for (int i = 0; i < 100'000; ++i) objects += "\"a\":{";
  CHECK(error_of(objects, 0) != "accepted");
}

TEST_CASE("safetensors: a hostile name cannot flood or garble a message", "[safetensors]") {
  const std::string message = error_of("{\"" + std::string(5000, 'x') + "\\n\\u001b\":1}", 0);
  CHECK(message.size() < 200);
  CHECK_THAT(error_of(R"({"a\n\u001b":1})", 0), Catch::Contains(R"(tensor "a\x0a\x1b")"));
}

TEST_CASE("safetensors: element sizes", "[safetensors]") {
  CHECK(librt::util::safetensors_element_bytes("BF16") == 2);
  CHECK(librt::util::safetensors_element_bytes("F64") == 8);
  CHECK(librt::util::safetensors_element_bytes("F8_E4M3") == 1);
  CHECK(librt::util::safetensors_element_bytes("F4") == 0);
  CHECK(librt::util::safetensors_element_bytes("bf16") == 0);
  CHECK(error_of(tensor_header(R"("dtype":"F4","shape":[6],"data_offsets":[0,3])"), 3) == "accepted");
  CHECK_THAT(error_of(tensor_header(R"("dtype":"F4","shape":[5],"data_offsets":[0,3])"), 3),
             Catch::Contains("whole number of bytes"));
}

TEST_CASE("safetensors: what is written is read back", "[safetensors]") {
  std::vector<std::byte> large(256);
  std::vector<std::byte> odd(3);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::byte>(i);
  odd[1] = std::byte{7};
  const std::map<std::string, Tensor> tensors{{"odd", {"U8", {3}, odd}},
                                              {"large", {"BF16", {2, 64}, large}},
                                              {"empty", {"F32", {0, 4}, {}}},
                                              {"scalar", {"F16", {}, std::span(large).first(2)}}};
  const std::map<std::string, std::string> metadata{{"kernel", "mla_decode"}, {"quote", "\"\\"}};
  const auto file = librt::util::write_safetensors(tensors, metadata);
  const Safetensors parsed = Safetensors::parse(file);
  CHECK(parsed.metadata() == metadata);
  REQUIRE(parsed.tensors().size() == tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const Tensor* const read = parsed.find(name);
    REQUIRE(read != nullptr);
    CHECK(read->dtype == tensor.dtype);
    CHECK(read->shape == tensor.shape);
    CHECK(std::equal(read->bytes.begin(), read->bytes.end(), tensor.bytes.begin(), tensor.bytes.end()));
  }
  const auto data = reinterpret_cast<const char*>(parsed.find("large")->bytes.data());
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file.data(), 8);
  CHECK((8 + header_bytes) % 64 == 0);
  const auto header = nlohmann::json::parse(reinterpret_cast<const char*>(file.data()) + 8,
                                            reinterpret_cast<const char*>(file.data()) + 8 + header_bytes);
  CHECK(header["large"]["data_offsets"] == nlohmann::json({0, 256}));
  CHECK(data[255] == static_cast<char>(255));
}

TEST_CASE("safetensors: wrong tensors are not written", "[safetensors]") {
  const std::vector<std::byte> bytes(8);
  const auto write = [&](const std::string& name, const Tensor& tensor) {
    return librt::util::write_safetensors({{name, tensor}}, {});
  };
  CHECK_THROWS_AS(write("t", {"F32", {3}, bytes}), librt::Error);
  CHECK_THROWS_AS(write("t", {"F33", {2}, bytes}), librt::Error);
  CHECK_THROWS_AS(write("t", {"F32", {-2, -1}, bytes}), librt::Error);
  CHECK_THROWS_AS(write("__metadata__", {"F32", {2}, bytes}), librt::Error);
}

TEST_CASE("safetensors: a file that is not there is an io error that names it", "[safetensors]") {
  try {
    Safetensors::load("/nonexistent/batch.safetensors");
    FAIL("accepted");
  } catch (const librt::Error& error) {
    CHECK(error.code() == librt::ErrorCode::io);
    CHECK_THAT(error.what(), Catch::Contains("/nonexistent/batch.safetensors"));
  }
}
