import { createServer, connect as dial, type Server, type Socket } from 'node:net';

/** A wire to another port that can be held: connections stay open and carry nothing, as with a peer that hangs. */
export class Relay {
  readonly #target: number | string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #held = false;
  /** What was sent while held, and where to. */
  #kept: (() => void)[] = [];

  private constructor(target: number | string) {
    this.#target = target;
    this.#server = createServer((socket) => this.#join(socket));
  }

  /** @param target a port, or the path of a Unix socket */
  static async to(target: number | string): Promise<Relay> {
    const relay = new Relay(target);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  /** How much is held back. */
  get keptCount(): number {
    return this.#kept.length;
  }

  hold(): void {
    this.#held = true;
  }

  /** Lets go. What was held back goes on its way. */
  release(): void {
    this.#held = false;
    const kept = this.#kept;
    this.#kept = [];
    for (const pass of kept) pass();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(socket: Socket): void {
    const target = this.#target;
    const other = typeof target === 'string' ? dial(target) : dial(target, '127.0.0.1');
    this.#carry(socket, other);
    this.#carry(other, socket);
  }

  #carry(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    const carry = (pass: () => void): void => {
      if (this.#held) this.#kept.push(pass);
      else pass();
    };
    from.on('data', (bytes) => carry(() => to.write(bytes)));
    from.on('end', () => carry(() => to.end()));
    from.on('error', () => to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
