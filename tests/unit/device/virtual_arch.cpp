#include "src/device/virtual/virtual_arch.hpp"

#include <catch2/catch.hpp>

namespace librt::device::virtual_device {

TEST_CASE("a posed architecture has the shared memory of its class", "[virtual]") {
  struct Expected {
    const char* arch;
    int bytes;
  };
  const auto expected = GENERATE(Expected{"sm_80", 166912}, Expected{"sm_86", 101376}, Expected{"sm_87", 166912},
                                 Expected{"sm_89", 101376}, Expected{"sm_90a", 232448}, Expected{"sm_100a", 232448},
                                 Expected{"sm_103a", 232448}, Expected{"sm_110", 232448}, Expected{"sm_120", 101376},
                                 Expected{"sm_121a", 101376});
  INFO(expected.arch);
  CHECK(posed_shared_bytes_per_block(parse_arch(expected.arch)) == expected.bytes);
}

TEST_CASE("a posed architecture has the multiprocessors of a known GPU", "[virtual]") {
  CHECK(posed_num_sms(parse_arch("sm_80")) == 108);
  CHECK(posed_num_sms(parse_arch("sm_90")) == 132);
  CHECK(posed_num_sms(parse_arch("sm_90a")) == 132);
  CHECK(posed_num_sms(parse_arch("sm_103a")) == posed_num_sms(parse_arch("sm_100a")));
  CHECK(posed_num_sms(parse_arch("sm_121")) == posed_num_sms(parse_arch("sm_120")));
  CHECK(posed_num_sms(parse_arch("sm_75")) == 108);
}

}  // namespace librt::device::virtual_device
