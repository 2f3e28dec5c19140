// A stand-in for libnvrtc-builtins: there is nothing in it that anyone calls.
extern "C" __attribute__((visibility("default"))) int fake_nvrtc_builtins() {
  return FAKE_NVRTC_MINOR;
}
