import { Program } from './program.ts';

export interface LineEvent {
  /** Of the command that it answers; absent where it tells of itself. */
  readonly id?: number;
  readonly event: string;
  readonly error?: string;
  readonly [name: string]: unknown;
}

/** A program that takes commands as lines of JSON and tells events the same way. Each command is answered once. */
export class LineProgram {
  readonly #program: Program;
  readonly #open = new Map<number, { resolve(event: LineEvent): void; reject(error: Error): void }>();
  #next = 1;

  constructor(words: readonly string[], onEvent: (event: LineEvent) => void) {
    this.#program = new Program(
      words,
      (line) => {
        const event = JSON.parse(line) as LineEvent;
        const command = event.id === undefined ? undefined : this.#open.get(event.id);
        if (command === undefined) {
          onEvent(event);
          return;
        }
        this.#open.delete(event.id as number);
        if (event.error === undefined) command.resolve(event);
        else command.reject(new Error(event.error));
      },
      (how) => {
        for (const { reject } of this.#open.values()) reject(new Error(how));
        this.#open.clear();
        onEvent({ event: 'over', error: how });
      },
    );
  }

  ask(op: string, members: Readonly<Record<string, unknown>> = {}): Promise<LineEvent> {
    const id = this.#next++;
    const answered = new Promise<LineEvent>((resolve, reject) => this.#open.set(id, { resolve, reject }));
    this.#program.write(JSON.stringify({ id, op, ...members }));
    return answered;
  }

  end(): Promise<void> {
    return this.#program.end();
  }
}
