#include "sharding/checkpoint/safetensors_header.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <unordered_set>
#include <utility>

#include "configs/error.h"

namespace lapidary {
namespace {

namespace json = boost::json;

/// Takes the parser's events one by one rather than a parsed tree: a tree would forget that a name came
/// twice, and would hold the whole header a second time.
class HeaderReader {
 public:
  static constexpr size_t max_object_size = static_cast<size_t>(-1);
  static constexpr size_t max_array_size = 64;  // dimensions of a shape
  static constexpr size_t max_key_size = static_cast<size_t>(-1);
  static constexpr size_t max_string_size = static_cast<size_t>(-1);

  explicit HeaderReader(const std::string& file) : file_(file) {}

  std::vector<HeaderTensor> take() { return std::move(tensors_); }

  bool on_document_begin(json::error_code&) { return true; }
  bool on_document_end(json::error_code&) { return true; }

  bool on_object_begin(json::error_code&) {
    if (place_ == HeaderSection::document) return go(HeaderSection::tensors);
    if (place_ == HeaderSection::tensors && key_ == "__metadata__") return go(HeaderSection::metadata);
    if (place_ != HeaderSection::tensors) wrong();
    tensors_.push_back({key_, StoredType::f32, {}, 0, 0});
    fields_ = {};
    return go(HeaderSection::tensor);
  }
  bool on_object_end(size_t, json::error_code&) {
    if (place_ == HeaderSection::tensor) end_tensor();
    return go(place_ == HeaderSection::tensors ? HeaderSection::document : HeaderSection::tensors);
  }

  bool on_array_begin(json::error_code&) {
    if (place_ != HeaderSection::tensor) wrong();
    if (key_ != "shape" && key_ != "data_offsets") wrong();
    numbers_.clear();
    return go(key_ == "shape" ? HeaderSection::shape : HeaderSection::offsets);
  }
  bool on_array_end(size_t, json::error_code&) {
    HeaderTensor& tensor = tensors_.back();
    if (place_ == HeaderSection::shape) {
      tensor.shape = numbers_;
    } else {
      if (numbers_.size() != 2) {
        fail(file_, ": tensor ", shown_name(tensor.name), " has ", numbers_.size(),
             " data_offsets instead of 2");
      }
      tensor.begin = numbers_[0];
      tensor.end = numbers_[1];
    }
    return go(HeaderSection::tensor);
  }

  bool on_key_part(json::string_view part, size_t, json::error_code&) { return append(part); }
  bool on_key(json::string_view part, size_t, json::error_code&) {
    append(part);
    key_ = std::exchange(text_, {});
    if (place_ == HeaderSection::tensors && !names_.insert(key_).second) {
      fail(file_, ": the header names tensor ", shown_name(key_), " twice");
    }
    if (place_ == HeaderSection::tensor) begin_field();
    return true;
  }

  bool on_string_part(json::string_view part, size_t, json::error_code&) { return append(part); }
  bool on_string(json::string_view part, size_t, json::error_code&) {
    append(part);
    const std::string value = std::exchange(text_, {});
    if (place_ == HeaderSection::metadata) return true;
    if (place_ != HeaderSection::tensor || key_ != "dtype") wrong();
    const auto type = stored_type(value);
    if (!type) {
      fail(file_, ": tensor ", shown_name(tensors_.back().name), " has the unknown dtype ",
           shown_name(value));
    }
    tensors_.back().dtype = *type;
    return true;
  }

  bool on_number_part(json::string_view, json::error_code&) { return true; }
  bool on_int64(int64_t value, json::string_view, json::error_code&) {
    if ((place_ != HeaderSection::shape && place_ != HeaderSection::offsets) || value < 0) wrong();
    numbers_.push_back(value);
    return true;
  }
  bool on_uint64(uint64_t, json::string_view, json::error_code&) { wrong(); }
  bool on_double(double, json::string_view, json::error_code&) { wrong(); }
  bool on_bool(bool, json::error_code&) { wrong(); }
  /// Python's writer makes `"__metadata__": null` of a None.
  bool on_null(json::error_code&) {
    if (place_ != HeaderSection::tensors || key_ != "__metadata__") wrong();
    return true;
  }
  bool on_comment_part(json::string_view, json::error_code&) { return true; }
  bool on_comment(json::string_view, json::error_code&) { return true; }

 private:
  enum class HeaderSection { document, tensors, metadata, tensor, shape, offsets };
  struct Fields {
    bool dtype = false, shape = false, offsets = false;
  };

  bool go(HeaderSection place) {
    place_ = place;
    return true;
  }
  bool append(json::string_view part) {
    text_.append(part.data(), part.size());
    return true;
  }
  [[noreturn]] void wrong() const {
    if (place_ == HeaderSection::document) fail(file_, ": the header is not a JSON object");
    if (place_ == HeaderSection::tensors || place_ == HeaderSection::metadata) {
      fail(file_, ": the header's entry ", shown_name(key_), " has the wrong kind of value");
    }
    fail(file_, ": tensor ", shown_name(tensors_.back().name), " has a wrong value in its field ",
         shown_name(key_));
  }
  void begin_field() {
    bool* seen = key_ == "dtype"          ? &fields_.dtype
                 : key_ == "shape"        ? &fields_.shape
                 : key_ == "data_offsets" ? &fields_.offsets
                                          : nullptr;
    const std::string& name = tensors_.back().name;
    if (!seen) fail(file_, ": tensor ", shown_name(name), " has the unknown field ", shown_name(key_));
    if (*seen) fail(file_, ": tensor ", shown_name(name), " has the field ", shown_name(key_), " twice");
    *seen = true;
  }
  void end_tensor() const {
    const char* missing = !fields_.dtype     ? "dtype"
                          : !fields_.shape   ? "shape"
                          : !fields_.offsets ? "data_offsets"
                                             : nullptr;
    if (missing) fail(file_, ": tensor ", shown_name(tensors_.back().name), " has no field \"", missing, '"');
  }

  const std::string& file_;
  HeaderSection place_ = HeaderSection::document;
  Fields fields_;
  std::string text_;  // the string or key being read
  std::string key_;
  std::vector<int64_t> numbers_;
  std::vector<HeaderTensor> tensors_;
  std::unordered_set<std::string> names_;
};

void check_size(const HeaderTensor& tensor, int64_t data_bytes, const std::string& file) {
  if (tensor.begin > tensor.end) {
    fail(file, ": tensor ", shown_name(tensor.name), " begins at byte ", tensor.begin,
         " and ends before it, at ", tensor.end);
  }
  if (tensor.end > data_bytes) {
    fail(file, ": tensor ", shown_name(tensor.name), " ends at byte ", tensor.end,
         " of the data, but the file holds ", data_bytes, " (is it cut short?)");
  }
  int64_t bits = 0;
  const auto count = element_count(tensor.shape);
  const bool fits = count && !__builtin_mul_overflow(*count, bits_of(tensor.dtype), &bits) && bits % 8 == 0;
  if (!fits || bits / 8 != tensor.end - tensor.begin) {
    fail(file, ": tensor ", shown_name(tensor.name), " of shape ", to_string(tensor.shape), " and dtype ",
         name_of(tensor.dtype), " needs ", fits ? cat(bits / 8) : "an impossible number of",
         " bytes, but its offsets hold ", tensor.end - tensor.begin);
  }
}

void check_layout(std::vector<HeaderTensor>& tensors, int64_t data_bytes, const std::string& file) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const HeaderTensor& a, const HeaderTensor& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  int64_t covered = 0;
  const HeaderTensor* last = nullptr;
  for (const HeaderTensor& tensor : tensors) {
    if (tensor.begin < covered) {
      fail(file, ": tensor ", shown_name(tensor.name), " begins at byte ", tensor.begin, ", inside tensor ",
           shown_name(last->name), " which ends at ", covered);
    }
    if (tensor.begin > covered) {
      fail(file, ": bytes ", covered, " to ", tensor.begin, " before tensor ", shown_name(tensor.name),
           " belong to no tensor");
    }
    covered = tensor.end;
    last = &tensor;
  }
  if (covered != data_bytes) {
    fail(file, ": the tensors end at byte ", covered, " of the data, but the file holds ", data_bytes);
  }
}

}  // namespace

std::string shown_name(std::string_view name) {
  constexpr size_t kLongest = 160;
  std::string text = "\"";
  for (char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    text += byte < 0x20 || byte == 0x7f ? '?' : c;
  }
  return text + (name.size() > kLongest ? "…\"" : "\"");
}

std::vector<HeaderTensor> read_safetensors_header(std::string_view text, int64_t data_bytes,
                                                  const std::string& file) {
  json::basic_parser<HeaderReader> parser(json::parse_options{}, file);
  json::error_code error;
  const size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (error) fail(file, ": the header is not valid JSON at byte ", used, ": ", error.message());
  if (!parser.done()) fail(file, ": the header of ", text.size(), " bytes ends inside its JSON");
  // Writers pad the header with spaces so that the data begins at a multiple of 8.
  const size_t rest = text.find_first_not_of(" \t\r\n", used);
  if (rest != std::string_view::npos) {
    fail(file, ": the header is not valid JSON: something follows it at byte ", rest);
  }
  std::vector<HeaderTensor> tensors = parser.handler().take();
  for (const HeaderTensor& tensor : tensors) check_size(tensor, data_bytes, file);
  check_layout(tensors, data_bytes, file);
  return tensors;
}

}  // namespace lapidary
