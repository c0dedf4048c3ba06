#!/usr/bin/env node
// The pool for blocking calls (log commits, inserts, files) is sized when it is first used, which loading an ES module
// already does: so this file is CommonJS. Its default of 4 would let inserts and queries hold up the log's commits.
const small = process.env.MILLRACE_PROFILE === 'small';
process.env.UV_THREADPOOL_SIZE ??= small ? '6' : '16';
if (small) {
  // A young generation of 8 MiB instead of 48, and an old one that grows by little; V8 heeds both after the start.
  const { setFlagsFromString } = require('node:v8');
  setFlagsFromString('--optimize-for-size');
  setFlagsFromString('--heap-growing-percent=15');
  // Of chdb's allocator: one arena in place of one for each core, and what is free goes back after a second.
  process.env.JE_MALLOC_CONF ??=
    'percpu_arena:disabled,narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0,prof:false,lg_tcache_max:13';
}
void import('../dist/main.js');
