import uWS, { type TemplatedApp } from 'uWebSockets.js';

/** Listens on a free port of the loopback interface and gives the URL. */
export function listen(app: TemplatedApp): Promise<string> {
  return new Promise((resolve, reject) => {
    app.listen('127.0.0.1', 0, (socket) => {
      if (socket === false) reject(new Error('no free port'));
      else resolve(`http://127.0.0.1:${uWS.getSocketPort(socket)}`);
    });
  });
}
