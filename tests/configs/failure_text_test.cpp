#include "configs/failure_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <new>
#include <stdexcept>
#include <system_error>

#include "configs/error.h"

namespace lapidary {
namespace {

using testing::StartsWith;

TEST(FailureText, AnErrorsOwnSentenceStays) {
  EXPECT_EQ(failure_text(Error("no such thing")), "no such thing");
}

TEST(FailureText, WhatTheLibraryCallsByNameIsASentence) {
  EXPECT_THAT(failure_text(std::bad_alloc()), StartsWith("not enough memory"));
  EXPECT_THAT(failure_text(std::length_error("vector::reserve")), StartsWith("not enough memory"));
  const auto again = std::make_error_code(std::errc::resource_unavailable_try_again);
  EXPECT_THAT(failure_text(std::system_error(again)), StartsWith("no more threads can be started"));
}

TEST(FailureText, AFilesNameComesFirst) {
  const auto gone = std::make_error_code(std::errc::no_such_file_or_directory);
  EXPECT_EQ(failure_text(std::filesystem::filesystem_error("cannot", "a/b", gone)),
            "a/b: No such file or directory");
}

}  // namespace
}  // namespace lapidary
