#!/usr/bin/env node
// The pool for blocking calls (log commits, inserts, files) is sized when it is first used, which loading an ES module
// already does: so this file is CommonJS. Its default of 4 would let inserts and queries hold up the log's commits.
process.env.UV_THREADPOOL_SIZE ??= '16';
void import('../dist/main.js');
