package vfs

import "golang.org/x/sys/unix"

// freeSpace counts in fragments, the unit of statfs(2)'s block counts; FUSE file
// systems report a preferred transfer size as block size.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, err
		}
		unit := uint64(st.Frsize)
		if unit == 0 {
			unit = uint64(st.Bsize)
		}
		return st.Bavail * unit, nil
	}
}
