import uWS from 'uWebSockets.js';
import { listen } from './listener.ts';
import { childOptions, tell } from './options.ts';

/** Floor: what HTTP alone costs. Reads the body, answers 202, does nothing else. */
childOptions();
const answer = '{"response":"message sent"}';
const app = uWS.App().any('/*', (response) => {
  response.onAborted(() => undefined);
  response.onData((_chunk, last) => {
    if (last) response.cork(() => response.writeStatus('202 Accepted').end(answer));
  });
});
tell({ url: await listen(app) });
