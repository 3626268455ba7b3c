#pragma once

#include <png.h>

#include <csetjmp>
#include <cstdio>

#include "configs/error.h"

namespace lapidary {

/// libpng's state, for reading or writing, and how it fails. libpng reports an error by a callback that must
/// not return, so functions that call into it begin with `if (setjmp(state.failed)) return false;` and hold
/// nothing with a destructor: the jump back skips none.
struct PngState {
  png_structp png = nullptr;
  png_infop info = nullptr;
  bool writes = false;
  std::jmp_buf failed;
  char message[160] = "";

  PngState() = default;
  PngState(const PngState&) = delete;
  PngState& operator=(const PngState&) = delete;
  ~PngState() {
    writes ? png_destroy_write_struct(&png, &info) : png_destroy_read_struct(&png, &info, nullptr);
  }
};

[[noreturn]] inline void on_png_error(png_structp png, png_const_charp message) {
  auto& state = *static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state.message, sizeof(state.message), "%s", message);
  std::longjmp(state.failed, 1);
}

inline void on_png_warning(png_structp, png_const_charp) {}

[[noreturn]] inline void throw_png_failure(const PngState& state, const char* what) {
  fail(what, ": ", state.message[0] != '\0' ? state.message : "not enough memory");
}

}  // namespace lapidary
