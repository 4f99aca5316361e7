/** gluon on the quickstart's mounts, which are brought up when they are not. */
export class GluonSystem {
  constructor(mount, quickstartDirectory) {
    this.mount = mount;
    this.quickstartDirectory = quickstartDirectory;
  }

  async up() {
    if (this.mount !== undefined) return this.mount;
    const { quickstartUp } = await import('../../scripts/quickstart.mjs');
    return (await quickstartUp(this.quickstartDirectory)).mounts[0];
  }

  down() {
    return Promise.resolve();
  }
}
