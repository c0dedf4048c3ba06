import type { Client, ClientKind, Identity, Inbox, Place, PublishOptions, Topic } from './client.ts';
import { type LineEvent, LineProgram } from './lines.ts';
import { pythonWith } from './program.ts';
import { ChannelSockets, type OnFrame, type OpenSocket } from './ws.ts';

const SCRIPT = new URL('./websockets-lines.py', import.meta.url).pathname;
const python = pythonWith('websockets');

/** Python's websockets on sockets of one channel each. */
export const websockets: ClientKind = {
  name: 'Python websockets',
  missing: python === null ? 'no Python has websockets' : null,
  publishes: true,
  subscribes: true,
  publishesEmpty: false,
  connect: async (place, identity) => new Websockets(python ?? 'python3', place, identity),
};

interface Listener {
  readonly onFrame: OnFrame;
  readonly onOver: (how: string) => void;
}

class Websockets implements Client {
  readonly #program: LineProgram;
  readonly #listeners = new Map<string, Listener>();
  readonly #sockets: ChannelSockets;

  constructor(program: string, place: Place, identity: Identity) {
    this.#program = new LineProgram([program, SCRIPT], (event) => this.#onEvent(event));
    this.#sockets = new ChannelSockets((url, onFrame, onOver) => this.#open(url, identity, { onFrame, onOver }), place);
  }

  publish(topic: Topic, payload: Uint8Array, options?: PublishOptions): Promise<void> {
    return this.#sockets.publish(topic, payload, options);
  }

  subscribe(filters: readonly Topic[]): Promise<Inbox> {
    return this.#sockets.subscribe(filters);
  }

  async close(): Promise<void> {
    await this.#sockets.close();
    await this.#program.end();
  }

  async #open(url: string, { key }: Identity, listener: Listener): Promise<OpenSocket> {
    const socket = String(this.#listeners.size);
    this.#listeners.set(socket, listener);
    await this.#program.ask('open', { socket, url, headers: { Authorization: `Thing ${key}` } });
    return {
      send: (frame) => {
        const text = typeof frame === 'string';
        const payload = Buffer.from(frame as Uint8Array).toString('base64');
        this.#program.ask('send', { socket, text, payload }).catch((error: unknown) => listener.onOver(String(error)));
      },
      close: async () => {
        await this.#program.ask('close', { socket }).catch(() => {});
      },
    };
  }

  #onEvent(event: LineEvent): void {
    if (event.event === 'over') {
      for (const { onOver } of this.#listeners.values()) onOver(String(event.error));
      return;
    }
    const listener = this.#listeners.get(String(event.socket));
    if (event.event === 'frame') listener?.onFrame(Buffer.from(String(event.payload), 'base64'), event.text === true);
    else listener?.onOver(`closed with ${event.code} ${event.reason}`);
  }
}
