// What a user's first program does, through the installed headers and library alone. Needs no GPU and no NVRTC.
#include <librt/librt.hpp>

#include <cstddef>
#include <iostream>
#include <span>
#include <vector>

#ifdef USE_GLIBC_LIBRT
#include <ctime>
#endif

int main() try {
  librt::Options options;
  options.device = "virtual:sm_90";
  options.cache_mode = librt::CacheMode::off;
  librt::Runtime runtime(options);

  const librt::Spec spec = librt::parse_spec("mla_decode num_heads=16 page_size=64 dtype=bf16");
  std::cout << librt::to_string(spec) << '\n' << runtime.source(spec, librt::parse_arch("sm_90a"));

  const std::vector<int> sent = {1, 2, 3};
  std::vector<int> received(sent.size());
  const librt::Buffer buffer = runtime.upload(std::span<const int>(sent));
  runtime.download(std::as_writable_bytes(std::span(received)), buffer);
  if (received != sent) return 1;

#ifdef USE_GLIBC_LIBRT
  timer_t timer{};  // lived in glibc's librt before 2.34: beside ours, -lrt must still mean glibc's
  if (timer_create(CLOCK_MONOTONIC, nullptr, &timer) != 0) return 1;
  timer_delete(timer);
#endif

  try {
    librt::parse_spec("mla_decode num_heads=0 page_size=64 dtype=bf16");
    return 1;
  } catch (const librt::Error& expected) {
    std::cout << librt::to_string(expected.code()) << ": " << expected.what() << '\n';
  }
  std::cout << "librt " << librt::version() << " works on " << runtime.device().name << '\n';
  return librt::version() == librt::kVersionText ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "failed: " << error.what() << '\n';
  return 1;
}
