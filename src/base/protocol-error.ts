/** What came over a connection breaks the protocol: the connection is closed, the process lives. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ProtocolError';
  }
}
