export { CodecsConfig } from './codecs/config.ts';
export { type CodecRunnerOptions, codecRunner } from './codecs/runner.ts';
export { ProcessorsConfig, RAW_POLICIES, type RawPolicy } from './config.ts';
export { ProcessorsError, type ProcessorsErrorCode } from './errors.ts';
export { TopicsConfig } from './outward/config.ts';
export { DEAD_LETTERS_TOPIC, type OutwardTopicsOptions, outwardTopics, READINGS_TOPIC } from './outward/topics.ts';
export { PROCESSORS_GROUP, type ProcessorsOptions, type ProcessorsStatus, processors } from './run/runner.ts';
