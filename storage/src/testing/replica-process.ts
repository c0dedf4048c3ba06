import { connect, createServer } from 'node:net';

/** The program behind a played replica: a door to its shard. @shape argv: host, port, port of the shard */
const [host = '127.0.0.1', port = '0', shard = '0'] = process.argv.slice(2);
const server = createServer((socket) => {
  const inner = connect(Number(shard), '127.0.0.1');
  for (const [from, to] of [
    [socket, inner],
    [inner, socket],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.destroy());
  }
});
server.once('error', () => process.exit(1));
server.listen(Number(port), host, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') process.stdout.write(`${address.port}\n`);
});
process.once('disconnect', () => process.exit(0));
