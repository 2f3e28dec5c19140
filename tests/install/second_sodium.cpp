// Another library's idea of libsodium in the same program: librt must not call it.
#include <cstdlib>

extern "C" {
int sodium_init() {
  std::abort();
}
int crypto_generichash(unsigned char*, std::size_t, const unsigned char*, unsigned long long, const unsigned char*,
                       std::size_t) {
  std::abort();
}
int crypto_generichash_init(void*, const unsigned char*, std::size_t, std::size_t) {
  std::abort();
}
int crypto_generichash_update(void*, const unsigned char*, unsigned long long) {
  std::abort();
}
int crypto_generichash_final(void*, unsigned char*, std::size_t) {
  std::abort();
}
}
