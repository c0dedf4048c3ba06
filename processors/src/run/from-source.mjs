// Development only: a thread does not inherit the TypeScript loader of its parent, so it registers one of its own
// before it loads the worker. Built code never comes here.
import { workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const worker = await import(workerData.workerUrl);
export default worker.default;
