#include "coordinator/telemetry/progress.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Progress, Bytes) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(999), "999 B");
  EXPECT_EQ(bytes_text(1000), "1.0 kB");
  EXPECT_EQ(bytes_text(5.84e9), "5.8 GB");
  EXPECT_EQ(bytes_text(312.4e6), "312 MB");
  EXPECT_EQ(bytes_text(999.9e6), "1.0 GB");
  EXPECT_EQ(bytes_text(3e15), "3000 TB");
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(0.2), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1 min 00 s");
  EXPECT_EQ(duration_text(185), "3 min 05 s");
  EXPECT_EQ(duration_text(7800), "2 h 10 min");
}

TEST(Progress, Bar) {
  EXPECT_EQ(bar_text(0, 12), "[>         ]");
  EXPECT_EQ(bar_text(0.55, 12), "[=====>    ]");
  EXPECT_EQ(bar_text(1, 12), "[==========]");
  EXPECT_EQ(bar_text(7, 12), "[==========]");
}

TEST(Progress, CountsAndTheirEnd) {
  const Counts counts{.total = 100, .done = 25, .failed = 2, .tokens = 1300};
  EXPECT_EQ(counts_text(counts, 10, false), "25/100 images, 2.5 images/s, 130 tokens/s, ETA 30 s, 2 failed");
  EXPECT_EQ(counts_text(counts, 10, true).substr(0, 26), "[=====>                ] 2");
  EXPECT_EQ(counts_text({.total = 3, .done = 3, .tokens = 9}, 1, false),
            "3/3 images, 3.0 images/s, 9.0 tokens/s");
  EXPECT_EQ(counts_text({.total = 3}, 1, false), "0/3 images, 0.0 images/s, 0.0 tokens/s")
      << "no ETA from nothing";
  EXPECT_EQ(summary_text({.total = 1, .done = 1, .tokens = 8}, 2),
            "1 image in 2 s (0.5 images/s, 4.0 tokens/s)");
  EXPECT_EQ(summary_text(counts, 10),
            "25 images in 10 s (2.5 images/s, 130 tokens/s); 2 of them failed, see the records' \"error\"; "
            "75 not done");
  const Counts resumed{.total = 100, .before = 60, .done = 20, .tokens = 200};
  EXPECT_EQ(counts_text(resumed, 10, false), "80/100 images, 2.0 images/s, 20 tokens/s, ETA 10 s")
      << "the rate is this run's";
  EXPECT_EQ(summary_text(resumed, 10),
            "20 images in 10 s (2.0 images/s, 20 tokens/s); 60 were done before; 20 not done");
}

}  // namespace
}  // namespace lapidary
