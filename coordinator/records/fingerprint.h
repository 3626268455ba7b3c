#pragma once

#include <filesystem>
#include <string>

namespace lapidary {

/// Tells models apart, in hexadecimal: config.json, the names and sizes of the *.safetensors files, their
/// headers, and 64 samples of 4 KiB spread over each of them: two fine-tunes of one base differ. A config
/// file alone stands for itself. Throws a sentence where nothing can be read.
std::string fingerprint_of_model(const std::filesystem::path& model);

/// 128 bits of a file's bytes, in hexadecimal; "none" where there is no such file.
std::string fingerprint_of_file(const std::filesystem::path& file);

/// 128 bits of `text`, in hexadecimal.
std::string fingerprint_of_text(const std::string& text);

}  // namespace lapidary
