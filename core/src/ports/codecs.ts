import type { CodecRecord } from './lora.ts';

/** What a codec made of a payload. `failed` is the script's fault or a limit that it met: a sentence for its author. */
export type Decoded =
  | {
      readonly kind: 'decoded';
      readonly data: unknown;
      readonly warnings: readonly string[];
      readonly logs: readonly string[];
    }
  | { readonly kind: 'failed'; readonly detail: string; readonly logs: readonly string[] };
export type Encoded =
  | {
      readonly kind: 'encoded';
      readonly bytes: Uint8Array;
      /** Where the script says so. */
      readonly fPort: number | null;
      readonly warnings: readonly string[];
      readonly logs: readonly string[];
    }
  | { readonly kind: 'failed'; readonly detail: string; readonly logs: readonly string[] };

/** Runs codecs, those of people sandboxed: bounded in time, memory and stack, off the event loop.
 *  @holds nothing a script does reaches another one's run
 *  @throws ProcessorsError CODECS_BUSY (retry later): nothing was run */
export interface CodecRunner {
  decode(
    codec: CodecInput,
    input: { readonly bytes: Uint8Array; readonly fPort: number; readonly variables: Readonly<Record<string, string>> },
  ): Promise<Decoded>;
  encode(
    codec: CodecInput,
    input: { readonly data: unknown; readonly fPort: number; readonly variables: Readonly<Record<string, string>> },
  ): Promise<Encoded>;
}
/** @shape id: of a draft ""; org: whose time it takes */
export type CodecInput = Pick<CodecRecord, 'id' | 'org' | 'version' | 'kind' | 'script'>;
