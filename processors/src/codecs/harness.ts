/** Runs inside of the sandbox, before the script of the codec: it keeps the built-ins as they were, so that what the
 *  script makes of them is its own affair. Gives `call` (the codec's function, how it is to be called, the input as
 *  JSON; gives its answer as JSON, or undefined) and `describe` (of what was thrown).
 *  @shape of the host's function `sink`: one line of console.log */
export const HARNESS = `(function (sink) {
  'use strict';
  const { parse, stringify } = JSON;
  const { isView } = ArrayBuffer;
  const arrayFrom = Array.from;
  const Promised = Promise;
  const Failure = TypeError;
  const DateOf = Date;
  const textOf = String;
  const slice = Function.prototype.call.bind(String.prototype.slice);
  const shown = (value) => {
    if (typeof value === 'string') return value;
    if (typeof value === 'object' && value !== null) return stringify(value) + '';
    return textOf(value);
  };
  // What is joined and handed over can not be interrupted: it is short.
  const short = (text) => slice(text, 0, 500);
  const log = (...values) => {
    let line = '';
    for (let index = 0; index < values.length && line.length < 500; index++)
      line += (index === 0 ? '' : ' ') + short(shown(values[index]));
    sink(short(line));
  };
  globalThis.console = { log, info: log, warn: log, error: log, debug: log };
  const listed = (bytes) => (isView(bytes) ? arrayFrom(bytes) : bytes);
  return {
    call(codec, form, json) {
      const input = parse(json);
      let answer;
      if (form === 'decodeUplink') {
        const { bytes, fPort, variables } = input;
        answer = codec({ bytes, fPort, variables, recvTime: new DateOf() });
      } else if (form === 'Decode') answer = { data: codec(input.fPort, input.bytes, input.variables) };
      else if (form === 'Decoder') answer = { data: codec(input.bytes, input.fPort) };
      else if (form === 'encodeDownlink') {
        const given = codec(input);
        if (typeof given === 'object' && given !== null) {
          const { bytes, fPort, warnings, errors } = given;
          answer = { bytes: listed(bytes), fPort, warnings, errors };
        } else answer = given;
      } else if (form === 'Encode') answer = { bytes: listed(codec(input.fPort, input.data, input.variables)) };
      else answer = { bytes: listed(codec(input.data, input.fPort)) };
      if (answer instanceof Promised || (form[0] === 'D' && answer.data instanceof Promised))
        throw new Failure('a codec answers at once: it may not be async');
      return stringify(answer);
    },
    describe(thrown) {
      if (typeof thrown !== 'object' || thrown === null) return textOf(thrown);
      const line = /codec\\.js:(\\d+)/.exec(textOf(thrown.stack));
      return textOf(thrown) + (line === null ? '' : ' (line ' + line[1] + ')');
    },
  };
})`;
