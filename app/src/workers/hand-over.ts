import { type AddressInfo, createServer, type Server } from 'node:net';
import { IngestError, type IngestErrorCode } from '@millrace/ingest';
import { type ListenerName, type LoadKind, loadKindOf } from './words.ts';
import type { Handed, WorkerProcess } from './worker-process.ts';

/** Connections that no worker has taken, since none is there or those that are do not answer; further ones are closed. */
const WAITING_MAX = 4_096;
const BACKLOG = 4_096;
const IN_USE: Readonly<Record<ListenerName, IngestErrorCode>> = {
  http: 'HTTP_PORT_IN_USE',
  mqtt: 'MQTT_PORT_IN_USE',
  mqtts: 'MQTT_PORT_IN_USE',
};
const FAILED: Readonly<Record<ListenerName, IngestErrorCode>> = {
  http: 'HTTP_LISTEN_FAILED',
  mqtt: 'MQTT_LISTEN_FAILED',
  mqtts: 'MQTT_LISTEN_FAILED',
};

/** Accepts what comes to the ports of this node and hands each connection to the worker that has the fewest.
 *  The ports stay open whatever becomes of the workers.  @source ADR 0025 */
export class HandOver {
  readonly #workers: () => readonly WorkerProcess[];
  readonly #servers: Server[] = [];
  readonly #waiting: Handed[] = [];
  readonly #shed: () => void;
  #turn = 0;

  /** @param shed told of each connection that could not wait any more */
  constructor(workers: () => readonly WorkerProcess[], shed: () => void) {
    this.#workers = workers;
    this.#shed = shed;
  }

  /** @returns the port  @throws IngestError */
  async listen(listener: ListenerName, host: string, port: number): Promise<number> {
    const server = createServer(
      { pauseOnConnect: true, allowHalfOpen: true, noDelay: true, keepAlive: true },
      (socket) => {
        socket.on('error', () => {});
        this.give({ listener, socket });
      },
    );
    this.#servers.push(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) => {
        const code = (cause.code === 'EADDRINUSE' ? IN_USE : FAILED)[listener];
        reject(new IngestError(code, 'later', { host, port }, { cause }));
      });
      server.listen({ host, port, backlog: BACKLOG }, resolve);
    });
    server.removeAllListeners('error').on('error', () => {});
    return (server.address() as AddressInfo).port;
  }

  give(handed: Handed): void {
    const untaken = this.#workers().reduce((sum, worker) => sum + worker.untaken, this.#waiting.length);
    if (untaken >= WAITING_MAX) {
      this.#shed();
      handed.socket.destroy();
      return;
    }
    const worker = this.#choose(loadKindOf(handed.listener));
    if (worker !== null) worker.hand(handed);
    else this.#waiting.push(handed);
  }

  /** A worker is there. */
  giveWaiting(): void {
    for (const handed of this.#waiting.splice(0)) this.give(handed);
  }

  /** Takes nothing new. */
  close(): void {
    for (const server of this.#servers.splice(0)) server.close();
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
  }

  #choose(kind: LoadKind): WorkerProcess | null {
    const workers = this.#workers().filter(({ ready }) => ready);
    const responsive = workers.filter((worker) => worker.responsive);
    const among = responsive.length > 0 ? responsive : workers;
    this.#turn++;
    let best: WorkerProcess | null = null;
    for (let step = 0; step < among.length; step++) {
      const worker = among[(this.#turn + step) % among.length] as WorkerProcess;
      if (best === null || worker.load(kind) < best.load(kind)) best = worker;
    }
    return best;
  }
}
