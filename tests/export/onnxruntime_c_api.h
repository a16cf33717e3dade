// The part of ONNX Runtime's C API that the program of docs/platforms/cpp.md calls, so that tests can build it against
// the library inside the `onnxruntime` wheel, which brings no header. OrtApi is a table of functions to which versions
// only ever append (https://onnxruntime.ai/docs/api/c/struct_ort_api.html), so a function's place in it is fixed;
// `skipped` stands for those between. An app takes the header of ONNX Runtime's release instead.
#pragma once
#include <cstddef>
#include <cstdint>

#define ORT_API_VERSION 1
#define ORTCHAR_T char

struct OrtEnv;
struct OrtStatus;
struct OrtSession;
struct OrtSessionOptions;
struct OrtRunOptions;
struct OrtMemoryInfo;
struct OrtValue;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_WARNING = 2, ORT_LOGGING_LEVEL_ERROR = 3 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };

struct OrtApi {
  void* skipped_0[2];
  const char* (*GetErrorMessage)(const OrtStatus*);  // 2
  OrtStatus* (*CreateEnv)(OrtLoggingLevel, const char* name, OrtEnv**);
  void* skipped_4[3];
  OrtStatus* (*CreateSession)(const OrtEnv*, const ORTCHAR_T* path, const OrtSessionOptions*, OrtSession**);  // 7
  void* skipped_8;
  OrtStatus* (*Run)(OrtSession*, const OrtRunOptions*, const char* const* input_names, const OrtValue* const* inputs,
                    size_t input_count, const char* const* output_names, size_t output_count, OrtValue** outputs);  // 9
  OrtStatus* (*CreateSessionOptions)(OrtSessionOptions**);
  void* skipped_11[38];
  OrtStatus* (*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo*, void* data, size_t bytes, const int64_t* shape,
                                               size_t axes, ONNXTensorElementDataType, OrtValue**);  // 49
  void* skipped_50[19];
  OrtStatus* (*CreateCpuMemoryInfo)(OrtAllocatorType, OrtMemType, OrtMemoryInfo**);  // 69
  void* skipped_70[23];
  void (*ReleaseStatus)(OrtStatus*);  // 93
  void* skipped_94[2];
  void (*ReleaseValue)(OrtValue*);  // 96
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

extern "C" const OrtApiBase* OrtGetApiBase();
