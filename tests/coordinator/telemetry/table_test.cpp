#include "coordinator/telemetry/table.h"

#include <gtest/gtest.h>

namespace lapidary {
namespace {

TEST(Table, ColumnsAlign) {
  EXPECT_EQ(table_text({{"rank", "weights", "KV"}, {"0", "1.5 GB", "20 MB"}, {"total", "3 GB"}}),
            "rank   weights     KV\n"
            "0       1.5 GB  20 MB\n"
            "total     3 GB\n");
}

TEST(Table, CharactersNotBytesAreCounted) {
  EXPECT_EQ(table_text({{"a", "é"}, {"b", "xy"}}), "a   é\nb  xy\n");
}

TEST(Table, Nothing) { EXPECT_EQ(table_text({}), ""); }

}  // namespace
}  // namespace lapidary
