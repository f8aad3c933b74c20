//go:build darwin || dragonfly || freebsd

package vfs

import "golang.org/x/sys/unix"

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
		// The count is signed on some of these systems, and negative when root has
		// used the reserve.
		return uint64(max(int64(st.Bavail), 0)) * uint64(st.Bsize), nil
	}
}
